#!/usr/bin/env python3
"""What a kilobyte document costs on its way into Cosmos: docferry, the bare loops, the JavaScript and the Java client, in turns.

    cargo bench --bench cosmos -- [--rounds N] [--documents N] [--only NAME,...] [--pin] [--json FILE]

Theory: the speed of a machine changes from minute to minute, so only ratios within one interleaved run say anything. Every round gives each program
one turn against one endpoint (`docferry emulator`, a process of its own, with throughput that is never used up and no latency); medians are compared.
The programs in Rust, JavaScript and Java live as long as the run and wait for their turns, so they are warm; docferry is started anew each time. What is
counted is CPU time, user and system, of all threads, as the operating system tells it: of a child that ends by wait4, of one that lives on by
/proc. What docferry pays for its own work is that of file to cosmos less that of file to nowhere, over the same documents in the same round: reading
and validating are in both, so what is left is what memory to cosmos costs over memory to null; starting and connecting are in it.

With --pin every client has the first core and the endpoint the second, as in measurements on a quiet machine; docs/s then are those of one core.
Node or Java may be missing: their rows are left out. Their packages are fetched once, into the scratch folder.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
JS_VERSION = "4.9.3"

# Documents of a turn: each takes a second or more, so that ticks of 10 ms do not show, and the slow ones not ten.
SHARES = {"door": 1.0, "docferry": 1.0, "null": 1.0, "point": 0.075, "docferry point": 0.075, "null short": 0.075,
          "js execute": 0.1, "js items": 0.1, "java": 0.25}

# Rounds of a program before the first that counts.
WARM_UP = {"java": 3, "js execute": 1, "js items": 1}


def cpu_of(pid):
    """CPU seconds of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Pinned:
    """Puts a child on a core, if that is wanted."""

    def __init__(self, core, wanted):
        self.cores = {core} if wanted else None

    def __call__(self):
        if self.cores:
            os.sched_setaffinity(0, self.cores)


class Waiting:
    """A program that lives as long as the run and takes turns by lines of standard input."""

    def __init__(self, command, pin):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[:3]} ended with {self.process.wait()}")
        return line

    def turn(self, documents):
        before = cpu_of(self.process.pid)
        self.process.stdin.write(f"{documents}\n")
        self.process.stdin.flush()
        told = json.loads(self.answer())
        return {"cpu": cpu_of(self.process.pid) - before, "wall": told["wall_us"] / 1e6, "documents": told["documents"]}

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Docferry:
    """docferry, started anew for each turn."""

    def __init__(self, plan, strategy, encoder, share):
        self.plan, self.encoder = plan, encoder
        self.path = plan.file(share)
        self.command = [plan.docferry, "migrate", "--strategy", str(strategy), "--no-auto-scaling", "--restart", "--overwrite", "-q"]

    def turn(self, documents):
        state = self.plan.scratch / "state"
        shutil.rmtree(state, ignore_errors=True)
        environment = dict(os.environ, INPUT=str(self.path), ENCODER=self.encoder, DOCFERRY_STATE=str(state), **self.plan.account)
        begin = time.monotonic()
        child = subprocess.Popen(self.command, env=environment, stdout=subprocess.DEVNULL, preexec_fn=self.plan.pin)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"docferry ended with {child.returncode}")
        return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "documents": documents}

    def end(self):
        pass


class Plan:
    def __init__(self, arguments):
        self.arguments = arguments
        self.scratch = Path(arguments.scratch) / "cosmos"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.docferry = arguments.docferry
        self.pin = Pinned(0, arguments.pin)
        command = [arguments.endpoint or self.docferry, "--json", "emulator", "--port", "0", "--throughput", "1000000000", "--latency-ms", "0"]
        if arguments.no_auth:
            command.append("--no-auth")
        self.endpoint = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=Pinned(1, arguments.pin))
        told = json.loads(self.endpoint.stdout.readline())
        self.url, self.key = told["endpoint"], told["key"]
        self.account = {"COSMOS_ENDPOINT": self.url, "COSMOS_KEY": self.key}
        # Whatever the environment holds of another account must not matter, and the driver takes a backtrace for every request if it may.
        for name in [name for name in os.environ if "COSMOS" in name or name == "RUST_BACKTRACE"]:
            del os.environ[name]

    def count(self, share):
        return int(self.arguments.documents * share)

    def file(self, share):
        """The first documents of the input, made once."""
        count = self.count(share)
        path = self.scratch / f"documents-{count}.jsonl"
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            # The same customers whatever the share: a short file is the beginning of the long one.
            customers = max(1, self.arguments.documents // 10)
            with open(unfinished, "wb") as out:
                make = [sys.executable, str(HERE / "make_documents.py"), str(count), "--customers", str(customers)]
                subprocess.run(make, stdout=out, check=True)
            unfinished.rename(path)
        return path

    def programs(self):
        loops, share = self.arguments.loops, SHARES
        yield "door", lambda: Waiting([loops, "door", self.url, self.key, self.file(share["door"])], self.pin)
        yield "docferry", lambda: Docferry(self, HERE / "to_cosmos.toml", "auto", share["docferry"])
        yield "null", lambda: Docferry(self, HERE.parent / "file_to_null.toml", "auto", share["null"])
        yield "point", lambda: Waiting([loops, "point", self.url, self.key, self.file(share["point"])], self.pin)
        yield "docferry point", lambda: Docferry(self, HERE / "to_cosmos.toml", "point", share["docferry point"])
        yield "null short", lambda: Docferry(self, HERE.parent / "file_to_null.toml", "auto", share["null short"])
        if shutil.which("node") and shutil.which("npm"):
            for way in ("execute", "items"):
                yield f"js {way}", lambda way=way: self.javascript(way)
        if shutil.which("java") and shutil.which("mvn"):
            yield "java", self.java

    def javascript(self, way):
        modules = self.scratch / "js"
        if not (modules / "node_modules/@azure/cosmos").exists():
            modules.mkdir(exist_ok=True)
            install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(modules), f"@azure/cosmos@{JS_VERSION}"]
            subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        path = self.file(SHARES[f"js {way}"])
        return Waiting(["node", str(HERE / "bulk.mjs"), way, self.url, self.key, str(path), str(modules)], self.pin)

    def java(self):
        jars = self.scratch / "java"
        if not jars.exists():
            unfinished = self.scratch / "java.unfinished"
            fetch = ["mvn", "-q", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={unfinished}"]
            subprocess.run(fetch, check=True, stdout=subprocess.DEVNULL)
            unfinished.rename(jars)
        command = ["java", "-Xmx2g", "-DCOSMOS.HTTP_CONNECTION_WITHOUT_TLS_ALLOWED=true", "-cp", f"{jars}/*", str(HERE / "Bulk.java")]
        return Waiting([*command, self.url, self.key, str(self.file(SHARES["java"]))], self.pin)


def run(plan):
    """The turns of every program: CPU seconds, wall seconds, documents and CPU seconds of the endpoint."""
    only = plan.arguments.only
    Docferry(plan, HERE / "to_cosmos.toml", "auto", 1.0).turn(plan.count(1.0))
    programs = {name: make() for name, make in plan.programs() if not only or name in only}
    turns = {name: [] for name in programs}
    try:
        for number in range(-max([WARM_UP.get(name, 0) for name in programs]), plan.arguments.rounds):
            for name, program in programs.items():
                if number < -WARM_UP.get(name, 0):
                    continue
                before = cpu_of(plan.endpoint.pid)
                turn = program.turn(plan.count(SHARES[name]))
                turn["endpoint"] = cpu_of(plan.endpoint.pid) - before
                if number >= 0:
                    turns[name].append(turn)
            print(f"round {number + 1} of {plan.arguments.rounds}", file=sys.stderr)
    finally:
        for program in programs.values():
            program.end()
    return turns


class Figures:
    """Medians over the rounds, in microseconds a document."""

    def __init__(self, turns):
        self.turns = turns

    def has(self, *names):
        return all(self.turns.get(name) for name in names)

    def cpu(self, name, less=None):
        pairs = zip(self.turns[name], self.turns[less] if less else self.turns[name])
        values = [turn["cpu"] - (other["cpu"] if less else 0) for turn, other in pairs]
        return [1e6 * value / turn["documents"] for value, turn in zip(values, self.turns[name])]

    def endpoint(self, name):
        return [1e6 * turn["endpoint"] / turn["documents"] for turn in self.turns[name]]

    def rate(self, name):
        return [turn["documents"] / turn["wall"] for turn in self.turns[name]]


def table(figures):
    rows = [("the bare door", "door", None), ("docferry, bulk (less null)", "docferry", "null"), ("the bare point loop", "point", None),
            ("docferry, point (less null)", "docferry point", "null short"), ("JavaScript, executeBulkOperations", "js execute", None),
            ("JavaScript, items.bulk", "js items", None), ("Java, executeBulkOperations", "java", None), ("docferry, file to null", "null", None)]
    print(f"{'':36}{'CPU us/document':>18}{'(range)':>18}{'documents/s':>14}{'endpoint us/document':>22}")
    for title, name, less in rows:
        if not figures.has(name) or (less and not figures.has(less)):
            continue
        cpu, rate, endpoint = figures.cpu(name, less), figures.rate(name), figures.endpoint(name)
        span = f"({min(cpu):.2f}-{max(cpu):.2f})"
        print(f"{title:36}{statistics.median(cpu):>18.2f}{span:>18}{statistics.median(rate):>14,.0f}{statistics.median(endpoint):>22.2f}")


def ratios(figures):
    """What is asked for, and what was found: name, value, whether small is good, floor, goal."""
    median = statistics.median
    cpu = lambda name, less=None: median(figures.cpu(name, less))
    foreign = [name for name in ("js execute", "js items", "java") if figures.has(name)]
    if figures.has("docferry", "null"):
        ours = cpu("docferry", "null")
        if figures.has("door"):
            yield "bulk / bare door", ours / cpu("door"), True, 1.85, 1.2
        if foreign:
            yield "cheaper foreign client / bulk", min(map(cpu, foreign)) / ours, False, 8, 12
            rate = max(median(figures.rate(name)) for name in foreign)
            yield "documents/s / faster foreign client", median(figures.rate("docferry")) / rate, False, 5, 8
        if figures.has("point"):
            yield "point loop / bulk", cpu("point") / ours, False, 15, 15
    if figures.has("point", "docferry point", "null short"):
        yield "docferry point / point loop", cpu("docferry point", "null short") / cpu("point"), True, 1.5, 1.5
    if figures.has("door"):
        yield "endpoint / bare door, in batches", median(figures.endpoint("door")) / cpu("door"), True, 2.5, 2.5


def main():
    parser = argparse.ArgumentParser(description="client CPU per kilobyte document, in turns")
    parser.add_argument("--docferry", required=True, help="the program")
    parser.add_argument("--loops", required=True, help="the bare loops: the program of this benchmark")
    parser.add_argument("--scratch", required=True, help="folder for documents and packages")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--documents", type=int, default=800_000, help="of the fastest; the others write a share of them")
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"of {', '.join(SHARES)}")
    parser.add_argument("--pin", action="store_true", help="clients on the first core, the endpoint on the second")
    parser.add_argument("--endpoint", help="the program that is the endpoint (default: the same)")
    parser.add_argument("--no-auth", action="store_true", help="the endpoint does not check signatures; clients sign all the same")
    parser.add_argument("--json", help="file for the figures of every turn")
    plan = Plan(parser.parse_args())
    try:
        turns = run(plan)
    finally:
        plan.endpoint.send_signal(signal.SIGTERM)
        plan.endpoint.wait()
    if plan.arguments.json:
        Path(plan.arguments.json).write_text(json.dumps(turns))
    figures = Figures(turns)
    print(f"\n{plan.arguments.documents} documents, {plan.arguments.rounds} rounds, medians")
    table(figures)
    print()
    for name, value, is_small_good, floor, goal in ratios(figures):
        met = value <= floor if is_small_good else value >= floor
        print(f"{name:40}{value:>8.2f}   floor {floor:<6} goal {goal:<6} {'met' if met else 'NOT MET'}")


if __name__ == "__main__":
    main()
