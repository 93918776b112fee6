#!/usr/bin/env python3
"""Migrates into the local Cosmos endpoint while it fails in every way it can, kills the run, resumes it, and demands what an undisturbed run leaves.

    faults.py --binary target/release/docferry [--scenes operations-throttled,together] [--encoders auto] [--documents 200000] [--kills 3]
              [--rate 10000] [--seed 1]

First one undisturbed run without faults. Its counters and its dead letters are held against what is expected of the input, which is made here.
Then, per scene and encoder, a paced run against an endpoint of its own, struck by SIGKILL at places spread over the source and resumed to its
end. With all faults switched off the container is read range by range (cosmos_documents.py): no document may be missing, too many or different, and some are
read again by id and key. Counters and dead letters must be those of the undisturbed run, the dead letters byte for byte. Documents read by
all runs together may exceed the source by 2.5 seconds of reading a strike, as in kill.py.

The scenes whose names begin with "always-" let nothing through from a moment on: the run must end with exit code 75 within a minute and must be
resumable when they are over. "stopped" kills the endpoint itself and starts it again on its data.

Only Python's standard library is used; how documents are read back owes nothing to docferry.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections import namedtuple
from pathlib import Path

import cosmos_documents
import kill
import pace

DATABASE, CONTAINER, KEY_FIELD = "shop", "orders", "region"
JOB = "faults"

# Source partitions: repeated ids are only promised an order within one.
PARTITION_BYTES = 1 << 20
MARGIN_BYTES = 8 << 10

# As long as a run may go on that gets no request through.
GIVES_UP_SECONDS = 60

# A document of more than this is refused.
LARGEST = 2 << 20

# Far more than any run here spends: throttling comes from faults alone.
THROUGHPUT = 1_000_000

OFF = {
    **{f"{name}_operation": 0 for name in ["throttle", "retry_with", "internal", "unavailable", "timeout_after_commit"]},
    **{name: 0 for name in ["throttle", "retry_with", "internal", "unavailable", "timeout_after_commit"]},
    **{name: 0 for name in ["drop_before_commit", "drop_after_commit", "stall", "latency_ms", "jitter_ms"]},
    "body_limit": LARGEST,
    "script": [],
}

# Of a scene: the faults that are set from the start, whether ranges are split meanwhile, and what befalls every request from the middle on.
Scene = namedtuple("Scene", "faults splits always mode", defaults=({}, False, None, "upsert"))

TOGETHER = {
    **{"throttle_operation": 0.02, "retry_with_operation": 0.005, "internal_operation": 0.005, "unavailable_operation": 0.005},
    **{"timeout_after_commit_operation": 0.005, "throttle": 0.05, "retry_with": 0.02, "internal": 0.02, "unavailable": 0.02},
    **{"timeout_after_commit": 0.02, "drop_before_commit": 0.01, "drop_after_commit": 0.01, "body_limit": 60_000},
    **{"latency_ms": 5, "jitter_ms": 5, "stall": 0.005, "stall_ms": 1000},
}

SCENES = {
    "operations-throttled": Scene({"throttle_operation": 0.02}),
    "requests-throttled": Scene({"throttle": 0.05}),
    "timeout-after-commit": Scene({"timeout_after_commit": 0.02, "timeout_after_commit_operation": 0.01}),
    "write-conflicts": Scene({"retry_with": 0.02, "retry_with_operation": 0.02}),
    "unavailable": Scene({"unavailable": 0.02, "unavailable_operation": 0.02}),
    "connections-dropped": Scene({"drop_before_commit": 0.02, "drop_after_commit": 0.02}),
    "internal": Scene({"internal": 0.02, "internal_operation": 0.02}),
    "split": Scene({"latency_ms": 5, "jitter_ms": 5}, splits=True),
    "small-bodies": Scene({"body_limit": 60_000}),
    "together": Scene(TOGETHER, splits=True),
    "together-insert": Scene(TOGETHER, splits=True, mode="insert"),
    "always-unavailable": Scene(always={"unavailable": 1}),
    "always-unavailable-operations": Scene(always={"unavailable_operation": 1}),
    "always-internal": Scene(always={"internal": 1}),
    "always-dropped": Scene(always={"drop_before_commit": 1}),
    "always-conflicts-and-throttling": Scene(always={"retry_with_operation": 1, "throttle_operation": 0.1}),
    "stopped": Scene(always="stopped"),
}

Expected = namedtuple("Expected", "lines read dropped rejected written first last")


def identity(document):
    """What tells a document from all others: the type and value of its key, and its id."""
    key = document.get(KEY_FIELD, "(none)") if KEY_FIELD in document else None
    kind = "none" if KEY_FIELD not in document else type(key).__name__
    return kind, str(key), document["id"]


def key_of(number, rng):
    """A key as JSON text; `None`: the document has none. Characters that are digits stand beside the number of the same digits."""
    choice = number % 16
    if choice < 8:
        return json.dumps(f"tenant-{rng.randrange(700)}")
    made = {
        8: lambda: str(rng.randrange(60)),
        9: lambda: f"{rng.randrange(30)}.5",
        10: lambda: f"-{rng.randrange(1, 9)}.25e1",
        11: lambda: rng.choice(["true", "false"]),
        12: lambda: "null",
        13: lambda: json.dumps(str(rng.randrange(60))),
        14: lambda: json.dumps(f"é\"\\-{rng.randrange(9)}"),
    }
    return made[choice]() if choice in made else None


def document(id_text, key, version, rng, status):
    fields = [f'"id":{id_text}'] if id_text else []
    fields.append(f'"Id":{version}')
    if key is not None:
        fields.append(f'"{KEY_FIELD}":{key}')
    fields.append(f'"status":"{status}","$type":"Shop.Order","_custom":{{"a":[[{version},[[]]],[{{}}]]}}')
    fields.append(f'"amount":{rng.randrange(10**6) / 100},"note":"{"x" * rng.randrange(60, 220)}","version":{version}')
    return "{" + ",".join(fields) + "}"


def write_input(path, count, seed):
    """Writes the source; returns what a run without faults makes of it, where first and last say which of equal (key, id) stands."""
    rng = random.Random(seed)
    first, last = {}, {}
    dropped = rejected = written = offset = 0
    recent, burst = [], None
    with open(path, "w", encoding="utf-8") as out:
        for number in range(count):
            if number % 2000 == 0:
                # For a while one key alone: such documents go as atomic batches.
                burst = key_of(number // 2000, rng)
            key = burst if number % 2000 < 300 else key_of(number, rng)
            id_text, status, spoilt = f'"order-{number}"', "open", None
            draw = rng.random()
            at_block = offset % PARTITION_BYTES
            is_inside = MARGIN_BYTES < at_block < PARTITION_BYTES - MARGIN_BYTES
            recent = [one for one in recent if one[0] == offset // PARTITION_BYTES]
            if draw < 0.004:
                spoilt = rng.choice(["{", '{"id":"x",}', '{"id":"a" "b"}', "[1]", '"text"'])
            elif draw < 0.007:
                spoilt = document(None, key, number, rng, status)
            elif draw < 0.009:
                spoilt = document(f'"a/{number}"', key, number, rng, status)
            elif draw < 0.011:
                spoilt = document(id_text, key, "9007199254740993", rng, status)
            elif number == count // 3:
                spoilt = f'{{"id":"large","{KEY_FIELD}":"large","note":"{"y" * LARGEST}"}}'
            elif draw < 0.06:
                status = "cancelled"
            elif draw < 0.10 and recent and is_inside:
                _, id_text, key = rng.choice(recent[-600:])
            line = spoilt or document(id_text, key, number, rng, status)
            out.write(line + "\n")
            if spoilt:
                rejected += 1
            elif status == "cancelled":
                dropped += 1
            else:
                written += 1
                made = cosmos_documents.parse(line)
                last[identity(made)] = made
                first.setdefault(identity(made), made)
                if is_inside:
                    recent.append((offset // PARTITION_BYTES, id_text, key))
            offset += len(line.encode()) + 1
    return Expected(path, count, dropped, rejected, written, first, last)


class Endpoint(pace.Endpoint):
    """The local endpoint with its data in a folder, so that it can be killed and started again where it was."""

    def __init__(self, binary, folder, faults, seed, port=0):
        script = folder / "faults.json"
        script.write_text(json.dumps(faults))
        self.command = [binary, "emulator", "--json", "--latency-ms", "0", "--seed", str(seed)]
        self.command += ["--data", str(folder / "data"), "--faults", str(script)]
        self.start(port)

    def start(self, port):
        self.process = subprocess.Popen(
            [*self.command, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        said = json.loads(self.process.stdout.readline())
        self.endpoint, self.key = said["endpoint"], said["key"]
        self.address = urllib.parse.urlsplit(self.endpoint)
        os.environ["COSMOS_KEY"] = self.key

    def kill(self):
        self.process.kill()
        self.process.wait()

    def post(self, path, fields):
        request = urllib.request.Request(self.endpoint.rstrip("/") + path, json.dumps(fields).encode(), method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def faults(self):
        with urllib.request.urlopen(self.endpoint.rstrip("/") + "/_faults") as answer:
            return json.load(answer)

    def connect(self):
        return http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=60)

    def ranges(self):
        path = f"/dbs/{DATABASE}/colls/{CONTAINER}/pkranges"
        status, _, body = cosmos_documents.ask(self.connect(), path, {})
        return [found["id"] for found in json.loads(body)["PartitionKeyRanges"]] if status == 200 else []


class Splits(threading.Thread):
    """Splits ranges while they are written: half of them as the service does, which says first that a split is about to end."""

    def __init__(self, endpoint, rng, most):
        super().__init__(daemon=True)
        self.endpoint, self.rng, self.most, self.done, self.over = endpoint, rng, most, 0, threading.Event()

    def run(self):
        while self.done < self.most and not self.over.wait(0.7):
            ranges = self.endpoint.ranges()
            if not ranges:
                continue
            order = {"container": f"{DATABASE}/{CONTAINER}", "range": self.rng.choice(ranges)}
            if self.done % 2 == 0:
                self.endpoint.post("/_split", {**order, "begin": True})
                self.over.wait(0.2)
            self.endpoint.post("/_split", order)
            self.done += 1

    def end(self):
        self.over.set()
        self.join()


class Place:
    """The strategy and the state of one sequence of runs."""

    def __init__(self, folder, source, endpoint, encoder, mode):
        self.state, self.strategy = folder / "state", folder / "faults.toml"
        self.strategy.write_text(
            f'[source]\nconnector = "file"\npath = "{source}"\npartition_bytes = {PARTITION_BYTES}\n\n'
            f'[target]\nconnector = "cosmos"\nendpoint = "{endpoint.endpoint}"\ndatabase = "{DATABASE}"\n'
            f'container = "{CONTAINER}"\npartition_key = "/{KEY_FIELD}"\ncreate = true\nthroughput = {THROUGHPUT}\n'
            f'encoder = "{encoder}"\nmode = "{mode}"\n\n'
            "[[transform]]\nfilter = 'status != \"cancelled\"'\n"
        )

    def command(self, binary, *more):
        return [
            *[binary, "migrate", "--strategy", str(self.strategy), "--job", JOB, "--state", str(self.state)],
            *["--json", "--max-rejects", "100%", *more],
        ]

    def record(self, name):
        return self.state / "jobs" / JOB / name

    def summary(self):
        return json.loads(self.record("summary.json").read_text())

    def rejects(self):
        return self.record("rejects.jsonl").read_bytes()


def differences(endpoint, wanted, rng):
    """How the container differs from what it must hold."""
    endpoint.post("/_faults", OFF)
    connection = endpoint.connect()
    container = f"/dbs/{DATABASE}/colls/{CONTAINER}"
    found, wrong, count = {}, [], 0
    for held in cosmos_documents.held(connection, container, "1000"):
        count += 1
        if identity(held) in found:
            wrong.append(f"twice: {identity(held)}")
        found[identity(held)] = held
    missing, extra = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    text = cosmos_documents.as_text
    different = [one for one in wanted.keys() & found.keys() if text(wanted[one]) != text(found[one])]
    for what, some in [("missing", missing), ("not expected", extra), ("different", different)]:
        if some:
            wrong.append(f"{len(some)} {what}: {sorted(some)[:3]}")
    for one in rng.sample(sorted(wanted), min(300, len(wanted))):
        value = wanted[one].get(KEY_FIELD, {})
        key = json.dumps([value])
        item = f"{container}/docs/{one[2]}"
        status, _, body = cosmos_documents.ask(connection, item, {"x-ms-documentdb-partitionkey": key})
        if status != 200 or text(cosmos_documents.parse(body)) != text(wanted[one]):
            wrong.append(f"not under its key {key}: {one}: {status}")
    return wrong


def until_struck(run, base, goal, rng):
    kill.wait_for(run, lambda: base + run.read >= goal and (run.checkpoints or base))
    # Events come a few times a second: without this delay all strikes would follow one.
    time.sleep(rng.random() * 0.3)


def struck_run(place, expected, options, rng):
    """The run that is struck and resumed: strikes, and the documents read by all runs."""
    rate, total = options.rate, expected.read
    first, last = 1.2 * rate, total - 0.5 * rate
    step = (last - first) / options.kills
    goals = [first + step * (number + rng.random()) for number in range(options.kills)]
    command = place.command(options.binary, "--resume", "--max-rate", str(rate))
    read = base = 0
    for strike, goal in enumerate(goals, 1):
        run = kill.Run(command)
        until_struck(run, base, goal, rng)
        run.strike(kill.signal.SIGKILL)
        read += run.most_read(rate)
        base = run.checkpointed or base
        if run.process.returncode == 0:
            raise kill.Finding(f"the run ended before strike {strike}: take fewer kills or more documents")
    return options.kills, read + kill.run_to_end(command).read


def failing_run(place, endpoint, expected, scene, options, rng):
    """The run that gets nothing through from its middle on; it must give up in time, and be resumable. Returns as struck_run."""
    run = kill.Run(place.command(options.binary, "--resume", "--max-rate", str(options.rate)))
    until_struck(run, 0, 1.2 * options.rate, rng)
    if scene.always == "stopped":
        endpoint.kill()
    else:
        endpoint.post("/_faults", scene.always)
    begun = time.monotonic()
    code = run.ended(GIVES_UP_SECONDS)
    run.over_at = time.monotonic()
    took = run.over_at - begun
    if code != 75:
        raise kill.Finding(f"exit code {code} instead of 75 after {took:.0f} s: {run.other_lines[-3:]}")
    error = place.summary()["error"]
    print(f"  gave up after {took:.1f} s: {error}", flush=True)
    if scene.always == "stopped":
        endpoint.start(endpoint.address.port)
    endpoint.post("/_faults", OFF)
    return 1, run.read + kill.run_to_end(place.command(options.binary, "--resume")).read


def not_in_force(endpoint, scene, splits):
    """What of a scene the endpoint did not play."""
    said = endpoint.faults()
    # Those of a failing run were withdrawn when it had ended.
    forgotten = [] if scene.always else [name for name, value in scene.faults.items() if said[name] != value]
    return [f"not in force: {name}" for name in forgotten] + (["nothing was split"] if splits and not splits.done else [])


def judge(name, encoder, folder, expected, calm, options):
    """One scene with one encoder; returns what was wrong."""
    scene, rng = SCENES[name], random.Random(options.seed)
    endpoint = Endpoint(options.binary, folder, scene.faults, options.seed)
    splits = Splits(endpoint, rng, 6) if scene.splits else None
    begun = time.monotonic()
    try:
        place = Place(folder, expected.lines, endpoint, encoder, scene.mode)
        if splits:
            splits.start()
        if scene.always:
            strikes, read = failing_run(place, endpoint, expected, scene, options, rng)
        else:
            strikes, read = struck_run(place, expected, options, rng)
        took = time.monotonic() - begun
        if splits:
            splits.end()
        wrong = not_in_force(endpoint, scene, splits)
        wanted = expected.first if scene.mode == "insert" else expected.last
        wrong += differences(endpoint, wanted, rng)
    finally:
        endpoint.kill()
    counters, summary = calm.summary()["counters"], place.summary()
    if scene.mode == "upsert":
        if summary["counters"] != counters:
            wrong.append(f"counters {summary['counters']} instead of {counters}")
        if place.rejects() != calm.rejects():
            wrong.append("the dead letters are not those of the undisturbed run")
    else:
        wrong += counter_differences(summary["counters"], insert_counters(expected))
    allowed = expected.read + strikes * kill.REPLAY_SECONDS_PER_STRIKE * options.rate
    # A run that gets nothing through reads on until its memory is full.
    if read > allowed and not scene.always:
        wrong.append(f"{read} documents read, {allowed:.0f} allowed")
    print(
        f"  {took:.1f} s, {strikes} strikes, {splits.done if splits else 0} splits, {read / expected.read:.3f} times read of"
        f" {allowed / expected.read:.3f} allowed; last run: {summary['requests']} requests, {summary['throttled']} throttled,"
        f" {summary['retried']} retried",
        flush=True,
    )
    return wrong


def upsert_counters(expected):
    return {name: getattr(expected, name) for name in ["read", "dropped", "rejected", "written"]}


def insert_counters(expected):
    """Of equal (key, id) the first stands, and the others are rejected."""
    refused = expected.written - len(expected.first)
    counters = upsert_counters(expected)
    return {**counters, "rejected": expected.rejected + refused, "written": len(expected.first)}


def counter_differences(counters, wanted):
    return [f"{name}: {counters[name]} instead of {value}" for name, value in wanted.items() if counters[name] != value]


def undisturbed(folder, expected, options):
    """The run without faults, and what was wrong with it."""
    folder.mkdir()
    endpoint = Endpoint(options.binary, folder, {}, options.seed)
    try:
        place = Place(folder, expected.lines, endpoint, "auto", "upsert")
        kill.run_to_end(place.command(options.binary))
        wrong = differences(endpoint, expected.last, random.Random(options.seed))
    finally:
        endpoint.kill()
    wrong += counter_differences(place.summary()["counters"], upsert_counters(expected))
    if place.rejects().count(b"\n") != expected.rejected:
        wrong.append(f"{place.rejects().count(10)} dead letters instead of {expected.rejected}")
    return place, wrong


def arguments():
    parser = argparse.ArgumentParser(description="fails, kills, resumes and compares")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--scenes", default=",".join(SCENES), type=lambda text: text.split(","))
    parser.add_argument("--encoders", default="auto", type=lambda text: text.split(","))
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--rate", type=int, default=10_000, help="documents per second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave the folder for a closer look")
    return parser.parse_args()


def main():
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="docferry-faults-"))
    expected = write_input(folder / "in.jsonl", options.documents, options.seed)
    calm, wrong = undisturbed(folder / "calm", expected, options)
    print(f"{expected.read} documents, {expected.rejected} rejects, {expected.dropped} dropped, {len(expected.last)} stand", flush=True)
    for each in wrong:
        print(f"  WRONG {each}")
    for name in options.scenes:
        for encoder in options.encoders:
            print(f"{name}, {encoder}:", flush=True)
            place = folder / f"{name}-{encoder}"
            place.mkdir()
            try:
                found = judge(name, encoder, place, expected, calm, options)
            except (kill.Finding, OSError, ValueError, KeyError) as error:
                found = [f"{type(error).__name__}: {error}"]
            for each in found[:5]:
                print(f"  WRONG {each}", flush=True)
            wrong += found
            if not found and not options.keep:
                shutil.rmtree(place)
    if options.keep or wrong:
        print(f"see {folder}")
    else:
        shutil.rmtree(folder)
    print("wrong" if wrong else "right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
