#!/usr/bin/env python3
"""The tuner against fixed knobs and threshold rules, in real time: what `docferry simulate` plays, with real runs into the local Cosmos endpoint.

    cargo bench --bench tuner -- [--plants NAME,...] [--rounds N] [--format json] [--lock FILE]

A plant is a container with some request units a second, a latency, a source and steps (PLANTS below). On each of them run, in turns: the knobs that a run begins with and
nobody turns ("default"), the best of a few other fixed knobs, the threshold rules of `docferry simulate` in the tuner's place, and the tuner from a cold start.

    score       documents a second that the endpoint admitted, by its own ledger. Of the tuner and the rules: seconds 30 to 60. Fixed knobs do in each
                second what they do in the last one, so they run for less time, on the plant as it is in those seconds (from second 8 on, 15 of them)
    best        the fixed setting with the highest score that keeps the profile's CPU ceiling (70 % of the cores, 2 points of tolerance; docferry's own
                time, by the operating system). In the first round all are tried, then the best of the first is measured again, so that the ratio is one of
                neighbours in time
    t95         seconds until five of them yield 95 % of the best and the next ten no less than 92 %; on a plant that changes, from the change on
    CPU         docferry's in the scored time; throttled: share of the operations that the endpoint sent away in it
    turned      knobs that the tuner turned in the whole run

docferry and the endpoint share the machine. A run is void and repeated, three times at most, while others use more than a tenth of it. With --lock no two programs that
ask for the same file measure at once. The floor: the tuner has 95 % of the best, and more than the default where that is not the best.
"""

import argparse
import fcntl
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "tests/oracle"))
from pace import Endpoint, partition_of  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))

# The ceiling of the profile `balanced`, and how far a mean may be over it: as in `docferry simulate`.
CPU_CEILING = 0.70 + 0.02

# More request units a second than two cores can spend: no limit.
UNLIMITED = 1_000_000

# What a document of these inputs costs, roughly; only the size of the input hangs on it.
UNITS_PER_DOCUMENT = 4.7

# Every filter looks for forty words that are nowhere, in all of a note: steps that cost CPU and change nothing.
COSTLY = ["not (" + " or ".join(f"contains(note, 'w{step}-{word}')" for word in range(40)) + ")" for step in range(20)]

# request_units: a second and partition of the target. latency_ms: of each request to it. shares: of the documents, by partition. at, factor: the second in which the request units are
# multiplied. source_latency_ms: read from a second endpoint whose answers take so long. steps: filters. note: bytes of a document's longest field.
# settled: the second from which fixed knobs do the same in every second.
# rate: documents a second at most, for the size of the input. grid: fixed settings to try beside the default.
EVEN = [1, 1, 1, 1]
REQUESTS = [{"requests_in_flight": requests} for requests in (16, 32, 64, 128)]
PLANTS = {
    # 2 000 documents a second are a tenth of what two cores can do: request units are the limit, whatever the knobs.
    "units": {"request_units": 2_500, "latency_ms": 5, "shares": EVEN, "rate": 2_200, "grid": [REQUESTS[1]]},
    # The fullest partition gets two documents of five and holds all up, once the others have written what could be read ahead of it: that is bounded by bytes, so documents
    # are large enough, and request units many enough, for ten seconds of it; a second ten for safety.
    "skewed": {"request_units": 10_000, "latency_ms": 5, "shares": [2, 1, 1, 1], "rate": 6_000, "note": 900, "settled": 20, "grid": [REQUESTS[1]]},
    # A hundred documents a request and ten round trips a second: 1 000 documents a second with each request in flight. The request units end that at about 17 000, which
    # two cores can do with room to spare; so some 20 requests are enough and more do not harm.
    "latency": {"request_units": 20_000, "latency_ms": 100, "shares": EVEN, "rate": 18_000, "grid": REQUESTS},
    # A tenth of that for twenty seconds, then all: what the tuner has learnt of the first is wrong.
    "step": {"request_units": 2_000, "latency_ms": 100, "shares": EVEN, "rate": 18_000, "grid": REQUESTS, "at": 20, "factor": 10},
    # Twenty filters that make a document cost some eighty microseconds: two transformers at once take both cores, the ceiling is 70 % of them.
    "steps": {"request_units": UNLIMITED // 4, "latency_ms": 5, "shares": EVEN, "rate": 30_000, "steps": COSTLY,
              "grid": [{"transformers": 1}, {"transformers": 1, "batch_documents": 10_000}, {"transformers": 1, "requests_in_flight": 32}]},
    # A page of 4 MiB, some 1 700 of these documents, takes a second: as many readers as there are partitions, which two cores can do with room to spare.
    "source": {"request_units": UNLIMITED // 4, "latency_ms": 5, "shares": EVEN, "rate": 15_000, "note": 2_000, "source_latency_ms": 1_000,
               "grid": [{"readers": 4}, {"readers": 8}, {"readers": 8, "credits": "128 MiB"}]},
}
SOURCE_PARTITIONS = 8


class Times:
    """CPU seconds: of some processes, and of everybody, as the operating system counts them. Interrupts are nobody's."""

    def __init__(self, processes):
        self.at = time.monotonic()
        self.of = {pid: self.of_process(pid) for pid in processes}
        fields = [int(field) / TICK for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        self.all = fields[0] + fields[1] + fields[2] + (fields[7] if len(fields) > 7 else 0)

    @staticmethod
    def of_process(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def since(self, before):
        """Shares of the machine: of each process, and of others."""
        whole = (self.at - before.at) * CORES
        shares = {pid: (self.of[pid] - before.of[pid]) / whole for pid in self.of}
        return shares, (self.all - before.all) / whole - sum(shares.values())


class Plant:
    """A plant with its input and, where it reads from an endpoint, its source."""

    def __init__(self, arguments, name):
        self.arguments, self.name, self.told = arguments, name, PLANTS[name]
        self.path = arguments.scratch / f"{name}-{self.told['rate']}-{self.told.get('note', 120)}-{arguments.seconds}.jsonl"
        if not self.path.exists():
            self.write_input()
        self.source = self.fill_source() if "source_latency_ms" in self.told else None

    def write_input(self):
        shares, rng = self.told["shares"], random.Random(1)
        keys = [[] for _ in shares]
        for number in range(1_000):
            key = f"tenant-{number}"
            keys[partition_of(key, len(shares))].append(key)
        unfinished, padding = self.path.with_suffix(".unfinished"), "x" * self.told.get("note", 120)
        documents = self.told["rate"] * (self.arguments.seconds + 5)
        with open(unfinished, "w") as out:
            for number, place in enumerate(rng.choices(range(len(shares)), shares, k=documents)):
                out.write(f'{{"id":"d{number}","tenant":"{rng.choice(keys[place])}","amount":{rng.randrange(10**6) / 100},"note":"{padding}"}}\n')
        unfinished.rename(self.path)

    def fill_source(self):
        endpoint = Endpoint(self.arguments.binary, SOURCE_PARTITIONS, 0, 1)
        with tempfile.TemporaryDirectory() as folder, locked(self.arguments.lock):
            target = f"cosmos:orders?database=source&endpoint={endpoint.endpoint}&create=true&partition_key=/id&throughput={UNLIMITED}"
            command = [self.arguments.binary, "migrate", "-q", "--no-auto-scaling", "--state", folder, "--from", f"file:{self.path}", "--to", target]
            subprocess.run(command, check=True, env=environment(folder, endpoint, endpoint))
        endpoint.set_latency(self.told["source_latency_ms"])
        return endpoint

    def strategy(self, folder, endpoint, throughput, knobs):
        """A strategy file, because the rules are given one too. Knobs in it are fixed."""
        source = f"cosmos:orders?database=source&endpoint={self.source.endpoint}" if self.source else f"file:{self.path}"
        target = f"cosmos:orders?database=shop&endpoint={endpoint.endpoint}&create=true&partition_key=/tenant&throughput={throughput}"
        steps = "".join(f"\n[[transform]]\nfilter = {json.dumps(step)}\n" for step in self.told.get("steps", []))
        run = "".join(f"{knob} = {json.dumps(value)}\n" for knob, value in knobs.items())
        path = Path(folder) / "plant.toml"
        path.write_text(f'about = "a plant"\n[source]\nuri = "{source}"\n[target]\nuri = "{target}"\n[run]\n{run}{steps}')
        return path

    def throughput(self, second):
        """Request units of all partitions in a second of a run."""
        has_changed = "at" in self.told and second >= self.told["at"]
        return self.told["request_units"] * len(self.told["shares"]) * (self.told["factor"] if has_changed else 1)

    def end(self):
        if self.source:
            self.source.stop()


def environment(folder, source, target):
    keys = {"SOURCE_COSMOS_KEY": source.key, "TARGET_COSMOS_KEY": target.key}
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), **keys}


@contextmanager
def locked(path):
    """Alone among those who ask for this file, if there is one."""
    with open(path or os.devnull, "a") as held:
        if path:
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def run(plant, contender, knobs=None):
    """One run, repeated while others disturb it."""
    for attempt in range(3):
        with locked(plant.arguments.lock):
            found = run_once(plant, contender, knobs or {})
        found["attempt"] = attempt
        if found["others"] <= 0.1:
            break
        print(f"{plant.name}, {contender}: others took {found['others']:.0%} of the machine: void", file=sys.stderr)
    return found


def run_once(plant, contender, knobs):
    """A run of one contender: `tuner`, `rules`, or fixed knobs."""
    is_fixed = contender not in ("tuner", "rules")
    settled = plant.told.get("settled", 8)
    scored = (settled, settled + 15) if is_fixed else (plant.arguments.seconds // 2, plant.arguments.seconds)
    with tempfile.TemporaryDirectory() as folder:
        endpoint = Endpoint(plant.arguments.binary, len(plant.told["shares"]), plant.told["latency_ms"], 1)
        strategy = plant.strategy(folder, endpoint, plant.throughput(1_000 if is_fixed else 0), knobs)
        command = [plant.arguments.binary, "migrate", "--strategy", strategy, "--state", folder, "--json"]
        command.append("--no-auto-scaling" if is_fixed else "--cold-start")
        if contender == "rules":
            command = [plant.arguments.rules, strategy, folder]
        log = Path(folder) / "log"
        with open(log, "w") as errors:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment(folder, plant.source or endpoint, endpoint))
        began = time.monotonic()
        processes = [process.pid, endpoint.process.pid, os.getpid()] + ([plant.source.process.pid] if plant.source else [])
        try:
            if "at" in plant.told and not is_fixed:
                wait(process, began + plant.told["at"], log)
                endpoint.set_throughput(plant.throughput(plant.told["at"]))
            wait(process, began + scored[0], log)
            before = Times(processes)
            wait(process, began + scored[1], log)
            shares, others = Times(processes).since(before)
            # The last windows of the scored time end within two seconds.
            wait(process, began + scored[1] + 2, log)
            ledger = endpoint.ledger()
        finally:
            process.kill()
            process.wait()
            endpoint.stop()
        found = judge(ledger, began - endpoint.began, scored)
        events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        if plant.arguments.keep:
            plant.arguments.keep.mkdir(parents=True, exist_ok=True)
            kept = "-".join([plant.name, contender, *(f"{knob}{value}" for knob, value in knobs.items()), str(time.time_ns())])
            shutil.copy(log, plant.arguments.keep / f"{kept}.jsonl")
    turned = [event for event in events if event["event"] == "decision" and event["effect"] == "turned"]
    last = next(event["knobs"] for event in reversed(events) if event["event"] == "progress")
    return found | {"plant": plant.name, "contender": contender, "knobs": knobs, "cpu": shares[process.pid], "others": others, "turned": len(turned), "end": last}


def wait(process, until, log):
    """Sleeps; whoever runs out of documents or fails meanwhile was no contender."""
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
        if process.poll() is not None:
            print(log.read_text()[-2000:], file=sys.stderr)
            sys.exit(f"the run ended with {process.returncode} before its time")


def judge(ledger, began, scored):
    """Documents of each second of a run, by the endpoint's windows, which are a second each and are counted from its own beginning."""
    first = int(began) + 1
    written = [0] * (scored[1] + 1)
    sent_away = [0] * len(written)
    for partition in ledger["partitions"]:
        for window in partition["windows"]:
            second = window["window"] - first
            if 0 <= second < len(written):
                written[second] += window["operations"]
                sent_away[second] += window["throttled"]
    begin, end = scored
    documents, thrown = sum(written[begin:end]), sum(sent_away[begin:end])
    return {"score": documents / (end - begin), "throttled": thrown / max(1, thrown + documents), "written": written[:end]}


def t95(written, best, changed):
    """Seconds from the change on until what is written stays near the best; None if never."""
    mean = lambda begin, end: statistics.fmean(written[begin:end])
    for begin in range(changed, len(written) - 15):
        if mean(begin, begin + 5) >= 0.95 * best and mean(begin + 5, begin + 15) >= 0.92 * best:
            return begin - changed
    return None


def play(plant, number, best_knobs):
    """A round on a plant."""
    default = run(plant, "default")
    tried = plant.told["grid"] if best_knobs is None else [best_knobs] if best_knobs else []
    fixed = [default] + [run(plant, "fixed", knobs) for knobs in tried]
    keeping = [found for found in fixed if found["cpu"] <= CPU_CEILING] or [min(fixed, key=lambda found: found["cpu"])]
    best = max(keeping, key=lambda found: found["score"])
    rules, tuner = run(plant, "rules"), run(plant, "tuner")
    for found in (rules, tuner):
        found["t95"] = t95(found["written"], best["score"], plant.told.get("at", 0))
    print(f"round {number + 1}, {plant.name}: " + ", ".join(f"{found['contender']} {found['knobs'] or ''} {found['score']:.0f}" for found in [*fixed, rules, tuner]), file=sys.stderr)
    return {"plant": plant.name, "round": number, "fixed": fixed, "default": default, "best": best, "rules": rules, "tuner": tuner}


def table(rounds):
    """Medians over the rounds; of ratios, the medians of the ratios."""
    median = lambda values: statistics.median(values)
    print(f"{'plant':8}{'default':>9}{'best':>9}  {'setting':26}{'rules':>8}{'tuner':>8}{'t/best':>8}{'t/def.':>8}{'r/best':>8}{'t95':>6}{'turned':>8}{'CPU':>6}{'thrown':>8}  floor")
    for name in dict.fromkeys(found["plant"] for found in rounds):
        some = [found for found in rounds if found["plant"] == name]
        score = lambda who: median([found[who]["score"] for found in some])
        ratio = lambda who, to: median([found[who]["score"] / found[to]["score"] for found in some])
        times = [found["tuner"]["t95"] for found in some]
        setting = " ".join(f"{knob}={value}" for knob, value in some[0]["best"]["knobs"].items()) or "the default"
        is_default = ratio("best", "default") <= 1.02
        keeps = all(found["default"]["cpu"] <= CPU_CEILING for found in some)
        met = ratio("tuner", "best") >= 0.95 and (is_default or ratio("tuner", "default") > 1.0)
        remark = "" if keeps else f" (the default takes {median([found['default']['cpu'] for found in some]):.0%} of the CPU)"
        remark = remark or (" (the default is the best)" if is_default else "")
        rules_cpu = median([found["rules"]["cpu"] for found in some])
        remark += f" (the rules take {rules_cpu:.0%} of the CPU)" if rules_cpu > CPU_CEILING else ""
        print(f"{name:8}{score('default'):>9.0f}{score('best'):>9.0f}  {setting:26}{score('rules'):>8.0f}{score('tuner'):>8.0f}{ratio('tuner', 'best'):>8.3f}"
              f"{ratio('tuner', 'default'):>8.2f}{ratio('rules', 'best'):>8.3f}{'never' if None in times else int(median(times)):>6}{median([found['tuner']['turned'] for found in some]):>8.0f}"
              f"{median([found['tuner']['cpu'] for found in some]):>6.0%}{median([found['tuner']['throttled'] for found in some]):>8.2%}  {'met' if met else 'NOT MET'}{remark}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="docferry")
    parser.add_argument("--rules", required=True, help="the program of this benchmark, which runs the threshold rules")
    parser.add_argument("--plants", type=lambda text: text.split(","), default=list(PLANTS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=60, help="of a run that is tuned; its second half is scored")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "docferry-bench-tuner", help="where inputs are kept")
    parser.add_argument("--keep", type=Path, help="folder for the events of every run")
    parser.add_argument("--lock", help="file to be locked while a run is measured")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    rounds, plants = [], {name: Plant(arguments, name) for name in arguments.plants}
    try:
        for number in range(arguments.rounds):
            for name, plant in plants.items():
                earlier = next((found["best"]["knobs"] for found in rounds if found["plant"] == name), None)
                rounds.append(play(plant, number, earlier))
    finally:
        for plant in plants.values():
            plant.end()
        # Also of rounds that something has ended.
        if arguments.format == "json":
            json.dump(rounds, sys.stdout)
        else:
            table(rounds)


if __name__ == "__main__":
    main()
