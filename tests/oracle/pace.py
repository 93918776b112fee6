#!/usr/bin/env python3
"""Holds a migration into the local Cosmos endpoint to its budget; the endpoint's ledger is the judge.

    pace.py --binary target/release/docferry [--scenes skewed,sorted] [--seconds 40] [--scale 1.0]

A scene is a container of some physical partitions with some request units a second each, an input whose keys fall onto the partitions in given shares, and
sometimes a change of throughput half-way. What is printed of each, "steady" being from second 10 on and before the source runs out:

    used        of what the hottest partition was given, and the least of all partitions; and the whole as a share of what can be reached: the
                sum of the budgets if the source is sorted by partition, budget / share of the hottest partition if it mixes them
    throttled   share of the operations that the endpoint sent away
    followed    seconds from the change until nine tenths of the new throughput were used for good in every partition; then how it went on
    cap         request units of the worst ten seconds, and of the whole, as shares of --max-ru

With --least-used and --most-throttled it fails where a figure is worse.

The keys are hashed here once more (MurmurHash3 of 128 bits), independently of docferry.
"""

import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

MASK = (1 << 64) - 1
SKEW = [25, 15, 12, 12, 10, 10, 8, 8]

# name: partitions, request units a second each, weights, sorted by partition, factor of the change half-way, --max-ru
SCENES = {
    "skewed": (8, 10_000, SKEW, False, None, None),
    "sorted": (8, 10_000, SKEW, True, None, None),
    "one-small": (1, 400, [1], False, None, None),
    "four": (4, 4_000, [1, 1, 1, 1], False, None, None),
    "four-small": (4, 1_000, [1, 1, 1, 1], False, None, None),
    "halved": (4, 4_000, [1, 1, 1, 1], False, 0.5, None),
    "doubled": (4, 4_000, [1, 1, 1, 1], False, 2.0, None),
    "halved-small": (1, 400, [1], False, 0.5, None),
    "doubled-small": (1, 400, [1], False, 2.0, None),
    "halved-large": (8, 10_000, [1] * 8, False, 0.5, None),
    "doubled-large": (8, 5_000, [1] * 8, False, 2.0, None),
    "max-ru": (8, 10_000, SKEW, False, None, "20000"),
    "max-ru-share": (4, 4_000, [1, 1, 1, 1], False, None, "50%"),
}

# What a created document of this input costs at the endpoint, roughly; only the size of the input hangs on it.
UNITS_PER_DOCUMENT = 5.0


def rotate(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def mix(value):
    value ^= value >> 33
    value = (value * 0xFF51AFD7ED558CCD) & MASK
    value ^= value >> 33
    value = (value * 0xC4CEB9FE1A85EC53) & MASK
    return value ^ (value >> 33)


def murmur_128(data):
    """MurmurHash3_x64_128 with seed 0, as (low, high)."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = struct.unpack_from("<QQ", data, at)
        h1 ^= (rotate((k1 * c1) & MASK, 31) * c2) & MASK
        h1 = ((rotate(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= (rotate((k2 * c2) & MASK, 33) * c1) & MASK
        h2 = ((rotate(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    k1, k2 = struct.unpack("<QQ", data[whole:].ljust(16, b"\0"))
    h2 ^= (rotate((k2 * c2) & MASK, 33) * c1) & MASK
    h1 ^= (rotate((k1 * c1) & MASK, 31) * c2) & MASK
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = mix(h1), mix(h2)
    h1 = (h1 + h2) & MASK
    return h1, (h2 + h1) & MASK


def partition_of(key, partitions):
    """The physical partition of a text key, in a container of version 2 that was cut evenly when it was made."""
    _, high = murmur_128(b"\x08" + key.encode() + b"\xff")
    return (high & (MASK >> 2)) * partitions >> 62


def write_input(path, scene, documents, rng):
    partitions, _, weights, is_sorted, _, _ = scene
    keys = [[] for _ in range(partitions)]
    number = 0
    while any(len(some) < 50 for some in keys):
        key = f"tenant-{number}"
        keys[partition_of(key, partitions)].append(key)
        number += 1
    places = rng.choices(range(partitions), weights, k=documents)
    if is_sorted:
        places.sort()
    padding = "x" * 120
    with open(path, "w") as out:
        for number, place in enumerate(places):
            key = rng.choice(keys[place])
            out.write(
                f'{{"id":"d{number}","tenant":"{key}","amount":{rng.randrange(10**6) / 100},"note":"{padding}"}}\n'
            )


class Endpoint:
    """`docferry emulator` as a process of its own."""

    def __init__(self, binary, partitions, latency_ms, seed):
        self.process = subprocess.Popen(
            [binary, "emulator", "--port", "0", "--json", "--no-auth", "--seed", str(seed)]
            + ["--partitions", str(partitions), "--latency-ms", str(latency_ms)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        said = json.loads(self.process.stdout.readline())
        # Windows are counted from here, give or take the phase of each partition.
        self.began = time.monotonic()
        self.endpoint, self.key = said["endpoint"], said["key"]

    def get(self, path):
        with urllib.request.urlopen(self.endpoint.rstrip("/") + path) as answer:
            return json.load(answer)

    def ledger(self):
        return self.get("/_ledger")["containers"][0]

    def set_throughput(self, throughput):
        offer = self.get("/offers")["Offers"][0]
        offer["content"]["offerThroughput"] = throughput
        request = urllib.request.Request(
            f"{self.endpoint.rstrip('/')}/offers/{offer['id']}", json.dumps(offer).encode(), method="PUT"
        )
        urllib.request.urlopen(request).read()

    def set_latency(self, milliseconds):
        faults = json.dumps({"latency_ms": milliseconds}).encode()
        urllib.request.urlopen(f"{self.endpoint.rstrip('/')}/_faults", faults).read()

    def stop(self):
        self.process.terminate()
        self.process.wait()


def play(binary, name, seconds, scale, seed, latency_ms, flags):
    scene = SCENES[name]
    partitions, budget, weights, is_sorted, change, max_ru = scene
    budget = max(int(budget * scale), 100)
    total = partitions * budget
    share = [weight / sum(weights) for weight in weights]
    reachable = total if is_sorted else min(total, budget / max(share))
    if max_ru and not max_ru.endswith("%"):
        max_ru = str(int(int(max_ru) * scale))
    rng = random.Random(seed)
    # Enough that nothing runs out: of a sorted source every partition is written at once.
    rate = budget / min(share) if is_sorted else reachable
    documents = int(rate * max(1.0, change or 1.0) * (seconds + 25) / UNITS_PER_DOCUMENT)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        write_input(source, scene, documents, rng)
        endpoint = Endpoint(binary, partitions, latency_ms, seed)
        try:
            return run(binary, endpoint, source, folder, (name, seconds, total, reachable, share, change, max_ru, is_sorted), flags)
        finally:
            endpoint.stop()


def run(binary, endpoint, source, folder, told, flags):
    name, seconds, total, reachable, share, change, max_ru, is_sorted = told
    target = (
        f"cosmos:orders?database=shop&endpoint={endpoint.endpoint}&create=true&partition_key=/tenant&throughput={total}"
    )
    command = [binary, "migrate", "--from", f"file:{source}", "--to", target]
    command += ["--state", str(Path(folder) / "state"), "--job", "pace", "--json"]
    command += flags.split()
    if max_ru:
        command += ["--max-ru", max_ru]
    environment = {"COSMOS_KEY": endpoint.key, "PATH": "/usr/bin:/bin", "HOME": folder}
    with open(Path(folder) / "log", "w") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment)
    began = time.monotonic()
    changed = None
    readings = []
    try:
        while process.poll() is None and time.monotonic() - began < seconds:
            time.sleep(0.1)
            try:
                ledger = endpoint.ledger()
            except (IndexError, OSError):
                continue
            readings.append((time.monotonic(), sum(p["request_units"] for p in ledger["partitions"])))
            if change and changed is None and time.monotonic() - began > seconds / 2:
                endpoint.set_throughput(int(total * change))
                changed = time.monotonic()
        ledger = endpoint.ledger()
    finally:
        process.kill()
        process.wait()
    if not ledger["partitions"] or len(readings) < 50:
        print((Path(folder) / "log").read_text()[-3000:], file=sys.stderr)
        sys.exit(f"{name}: the migration did not run")
    return judge(ledger, readings, told, changed and changed - endpoint.began)


def judge(ledger, readings, told, changed):
    name, seconds, total, reachable, share, change, max_ru, is_sorted = told
    result = {"scene": name}
    partitions = ledger["partitions"]
    # Whole windows of each partition, counted from its first.
    rows = [[w for w in partition["windows"]] for partition in partitions]
    first = min(row[0]["window"] for row in rows)
    last = max(row[-1]["window"] for row in rows)

    def window(row, number):
        return next((w for w in row if w["window"] == number), {"budget": None, "request_units": 0.0, "operations": 0, "throttled": 0})

    def figures(begin, end):
        used, throttled, units = [], [], 0.0
        for row in rows:
            some = [window(row, n) for n in range(begin, end)]
            budget = sum(w["budget"] or (total / len(rows)) for w in some)
            spent = sum(w["request_units"] for w in some)
            sent = sum(w["operations"] + w["throttled"] for w in some)
            used.append(spent / budget)
            throttled.append(sum(w["throttled"] for w in some) / max(1, sent))
            units += spent
        return used, throttled, units / max(1, end - begin)

    # Sorted documents come to their lanes a little later; everything is judged from second 10 on.
    begin = first + (10 if changed is None else 5)
    used, throttled, rate = figures(begin, last - 1 if changed is None else int(changed) - 1)
    if "--trace" in sys.argv:
        for n in range(first, last):
            print(n - first, [f"{window(row, n)['request_units'] / (total / len(rows)):.2f}/{window(row, n)['throttled']}" for row in rows], file=sys.stderr)
    result["used"] = {"hottest": max(used), "least": min(used), "of_reachable": rate / reachable}
    steady = [w for row in rows for w in row if begin <= w["window"] < (last if changed is None else int(changed) - 1)]
    sent_away = sum(w["throttled"] for w in steady)
    result["throttled"] = sent_away / max(1, sent_away + sum(w["operations"] for w in steady))
    result["worst_partition_throttled"] = max(throttled)
    if changed is not None:
        at = int(changed)
        share_of = lambda n: min(figures(n, n + 1)[0])
        poor = [n for n in range(at, last - 1) if share_of(n) < 0.9]
        result["change"] = change
        result["followed"] = (poor[-1] + 1 - at) if poor else 0
        after = figures(at + (3 if change < 1 else 20), last - 1)
        result["after"] = {"used": min(after[0]), "throttled": max(after[1])}
    if max_ru:
        cap = float(max_ru[:-1]) / 100 * total if max_ru.endswith("%") else float(max_ru)
        ten, low = 0.0, 0
        for high in range(len(readings)):
            while readings[high][0] - readings[low][0] > 10.0:
                low += 1
            span = readings[high][0] - readings[low][0]
            if span > 9.5:
                ten = max(ten, (readings[high][1] - readings[low][1]) / span / cap)
        result["cap"] = {"worst_ten_seconds": ten, "used": rate / cap}
    return result


def is_good(result, least_used, most_throttled):
    """Whether the scene went as was asked; what does not apply to it is not asked."""
    if "cap" in result:
        cap = result["cap"]
        return cap["worst_ten_seconds"] <= 1.03 and cap["used"] >= least_used and result["throttled"] <= most_throttled
    if "followed" in result:
        after = result["after"]
        limit = 3 if result["change"] < 1 else 20
        if result["followed"] > limit or after["used"] < least_used or after["throttled"] > most_throttled:
            return False
    used = min(result["used"]["hottest"], result["used"]["of_reachable"])
    return used >= least_used and result["throttled"] <= most_throttled


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--latency-ms", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flags", default="", help="more flags of docferry; without any the tuner sets its knobs")
    parser.add_argument("--least-used", type=float, default=0.0)
    parser.add_argument("--most-throttled", type=float, default=1.0)
    parser.add_argument("--trace", action="store_true", help="also the share of the budget and the throttled operations of each window")
    arguments = parser.parse_args()
    poor = []
    for name in arguments.scenes.split(","):
        result = play(arguments.binary, name, arguments.seconds, arguments.scale, arguments.seed, arguments.latency_ms, arguments.flags)
        print(json.dumps(result), flush=True)
        if not is_good(result, arguments.least_used, arguments.most_throttled):
            poor.append(name)
    if poor:
        sys.exit(f"worse than asked: {', '.join(poor)}")


if __name__ == "__main__":
    main()
