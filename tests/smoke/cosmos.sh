#!/usr/bin/env bash
# Migrates documents into Azure Cosmos DB, kills the run, resumes it and verifies what arrived, as somebody would who trusts nobody.
#
#   tests/smoke/cosmos.sh [DOCFERRY]        the binary; target/release/docferry if none is named
#
# With COSMOS_ENDPOINT and COSMOS_KEY it writes into that account: a container of its own in the database docferry-smoke, which stays there and is to be
# deleted by hand. Without them it starts a local endpoint, kills that too, and looks whether everything is still there.
# Exit code 0 says that all was as it must be; with 1 a line that begins with FAILED tells what was not, and the folder with all records stays.
set -uo pipefail

readonly DOCUMENTS=4000

# Documents a second until the kill: the undisturbed run would last eight seconds, and it is killed in its third.
readonly RATE=500

# How long anything may take that takes a few seconds.
readonly PATIENCE=120

docferry=$(realpath "${1:-$(dirname "$0")/../../target/release/docferry}")
folder=$(mktemp -d)
endpoint=
run=

say() { printf '%s\n' "$*"; }

fail() {
    say "FAILED: $*"
    say "see $folder"
    exit 1
}

clean_up() {
    local code=$?
    for process in $run $endpoint; do kill -9 "$process" 2> /dev/null; done
    if ((code == 0)); then rm -rf "$folder"; fi
}
trap clean_up EXIT

# wait_until WHAT COMMAND...: until the command succeeds.
wait_until() {
    local what=$1 end=$((SECONDS + PATIENCE))
    shift
    until "$@" > /dev/null 2>&1; do
        ((SECONDS < end)) || fail "$what: not within $PATIENCE s"
        sleep 0.05
    done
}

# Things that a careless tool changes: keys of every type and none at all, Id beside id, $type, names with an underscore, arrays of arrays, numbers of every form.
make_documents() {
    awk -v count="$DOCUMENTS" 'BEGIN {
        split("\"north\" \"south\" 7 -1.5 true false null", keys, " ")
        split("0 -12 3.75 1.10 1e-7 6.02e23 9007199254740992", numbers, " ")
        for (n = 0; n < count; n++) {
            key = n % 8 == 7 ? "" : ",\"region\":" keys[n % 8 + 1]
            printf "{\"id\":\"smoke-%d\",\"Id\":%d%s,\"$type\":\"Shop.Order, Shop\",\"_custom\":{\"a\":[[%d,[[]]],[{}]]},", n, n, key, n
            printf "\"number\":%s,\"text\":\"\\\"\\u00e9\\\\ \303\251\",\"none\":null,\"lines\":[[1,[2,[3]]],[]]}\n", numbers[n % 7 + 1]
        }
    }'
}

# start_endpoint NUMBER: a local endpoint that keeps its data, and the variables that lead there.
start_endpoint() {
    local told=$folder/endpoint-$1.json
    "$docferry" emulator --port 0 --data "$folder/data" --json > "$told" 2> "$folder/endpoint-$1.err" &
    endpoint=$!
    # The shell would tell that it was killed.
    disown "$endpoint"
    wait_until "the local endpoint starts" grep -q '}$' "$told"
    COSMOS_ENDPOINT=$(sed 's/.*"endpoint":"\([^"]*\)".*/\1/' "$told")
    COSMOS_KEY=$(sed 's/.*"key":"\([^"]*\)".*/\1/' "$told")
    export COSMOS_ENDPOINT COSMOS_KEY
}

job=(--strategy "$folder/smoke.toml" --state "$folder/state")

# verify SOURCE EXIT-CODE: verifies and demands that code.
verify() {
    "$docferry" verify "${job[@]}" --from "$1" > "$folder/verify.out" 2> "$folder/verify.err"
    local code=$?
    ((code == $2)) || fail "verify ends with exit code $code, not $2: $(cat "$folder/verify.out" "$folder/verify.err")"
}

[[ -x $docferry ]] || fail "there is no binary $docferry; build it with: cargo build --release"
if [[ -n ${COSMOS_ENDPOINT:-} ]]; then
    [[ -n ${COSMOS_KEY:-} ]] || fail "COSMOS_ENDPOINT is set but COSMOS_KEY is not"
    is_local=false
else
    is_local=true
    # Whatever the environment says of another account must not be written to.
    while read -r name; do unset "$name"; done < <(compgen -v | grep COSMOS)
    start_endpoint 1
fi
container=smoke-$(date +%s)-$$
say "1 of 6: $DOCUMENTS documents into docferry-smoke/$container of $COSMOS_ENDPOINT"
make_documents > "$folder/documents.jsonl"
cat > "$folder/smoke.toml" << TOML
[source]
connector = "file"
path = "$folder/documents.jsonl"

[target]
connector = "cosmos"
database = "docferry-smoke"
container = "$container"
partition_key = "/region"
create = true
throughput = 10000
TOML

"$docferry" migrate "${job[@]}" --json --max-rate "$RATE" 2> "$folder/killed.jsonl" &
run=$!
has_stored() { (($(grep -c '"event":"checkpoint_saved"' "$folder/killed.jsonl") >= 2)) || ! kill -0 "$run"; }
wait_until "the run stores a checkpoint" has_stored
kill -9 "$run" 2> /dev/null || fail "the run was over before it could be killed: $(tail -n 3 "$folder/killed.jsonl")"
wait "$run" 2> /dev/null
code=$?
run=
((code == 137)) || fail "the killed run ends with exit code $code, not 137"
say "2 of 6: killed, $(grep '"event":"checkpoint_saved"' "$folder/killed.jsonl" | tail -n 1 | grep -o '"documents":[0-9]*' | cut -d: -f2) documents are in its checkpoint"

verify "$folder/documents.jsonl" 65
say "3 of 6: verify sees that documents are missing"

"$docferry" migrate "${job[@]}" --json --resume 2> "$folder/resumed.jsonl" || fail "the resumed run ends with exit code $?: $(tail -n 3 "$folder/resumed.jsonl")"
say "4 of 6: resumed to its end"

if $is_local; then
    kill -9 "$endpoint"
    is_gone() { ! kill -0 "$endpoint"; }
    wait_until "the local endpoint ends" is_gone
    start_endpoint 2
fi
verify "$folder/documents.jsonl" 0
say "5 of 6: $(head -n 1 "$folder/verify.out")"

sed "s/\"Id\":77,/\"Id\":78,/" "$folder/documents.jsonl" > "$folder/changed.jsonl"
verify "$folder/changed.jsonl" 65
say "6 of 6: verify sees one changed number"
$is_local || say "delete the container docferry-smoke/$container"
say "all is as it must be"
