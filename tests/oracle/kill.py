#!/usr/bin/env python3
"""Kills a migration again and again, resumes it, and demands the result of a run that nobody touched.

    kill.py --binary target/release/docferry [--targets file,sqlite,memory] [--kills 20] [--seconds 10] [--rate 20000] [--seed 1]

Per target, on an input with malformed lines and lines to be dropped:

1. An undisturbed run. What it leaves is held against an independent transform (five_steps.py), so that the two
   runs cannot agree on something wrong.
2. A paced run that is struck when it has come to places spread over the source, from its first checkpoint on. Most strikes are
   SIGKILL; every fifth is SIGTERM, which must be answered by exit code 143 within 30 seconds; after every fourth
   strike the resumed run is struck at once, before it can store a checkpoint of its own. Then it is resumed to its end.

Both must leave the same: a file byte for byte, a SQLite table row for row with all its columns, a journal in its latest
document of each id. The dead letters must be the same bytes, and
summary.json must hold the same counters.

Lastly the price of a kill: documents read by all runs together may exceed the source by 2.5 seconds of reading a strike (a
checkpoint is stored every second; the rest is a batch in flight and the time to store it). What a killed run read after its last
event nobody has seen: the pace times that time is added, so the sum is never too small.
"""

import argparse
import json
import math
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import documents
import five_steps

HERE = Path(__file__).resolve().parent
MAKE_INPUT = HERE.parents[1] / "benches" / "make_input.py"
FIVE_STEPS = HERE.parents[1] / "benches" / "five_steps.toml"

JOB = "kill"
REPLAY_SECONDS_PER_STRIKE = 2.5
SIGTERM_SECONDS = 30

# What no run should need, however slow the machine: a hang is a finding and must not hang its finder.
PATIENCE_SECONDS = 300

# The target table of the strategy, and the file that it leaves.
TARGETS = {
    "file": ('connector = "file"\npath = "{path}"', "out.jsonl"),
    "sqlite": (
        'connector = "sqlite"\npath = "{path}"\ntable = "documents"\ncolumns = ["city", "quantity", "shipping"]',
        "out.db",
    ),
    "memory": ('connector = "memory"\nname = "kill"\njournal = "{path}"', "journal.jsonl"),
}


class Place:
    """A folder with the strategy, the state and the target of one sequence of runs."""

    def __init__(self, folder, source, target):
        folder.mkdir()
        settings, name = TARGETS[target]
        self.target = folder / name
        self.state = folder / "state"
        self.strategy = folder / "five_steps.toml"
        steps = FIVE_STEPS.read_text()
        head = f'[source]\nconnector = "file"\npath = "{source}"\npartition_bytes = "1 MiB"\n\n[target]\n{settings.format(path=self.target)}\n\n'
        self.strategy.write_text(head + steps[steps.index("[[transform]]") :])

    def command(self, binary, *more):
        return [
            *[binary, "migrate", "--strategy", str(self.strategy), "--job", JOB, "--state", str(self.state)],
            *["--json", "--max-rejects", "100%", *more],
        ]

    def record(self, name):
        return self.state / "jobs" / JOB / name

    def counters(self):
        return json.loads(self.record("summary.json").read_text())["counters"]

    def rejects(self):
        path = self.record("rejects.jsonl")
        return path.read_bytes() if path.exists() else b""


class Run:
    """A run that is under way, as its events tell of it."""

    def __init__(self, command):
        self.begun = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.read = 0
        self.read_at = self.begun
        self.over_at = None
        self.checkpoints = 0
        self.checkpointed = None
        self.other_lines = []
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        for line in self.process.stderr:
            try:
                event = json.loads(line)
                kind = event["event"]
            except (ValueError, KeyError, TypeError):
                self.other_lines.append(line.decode("utf-8", "replace").rstrip())
                continue
            if kind == "progress":
                self.read, self.read_at = event["read"], time.monotonic()
            elif kind == "checkpoint_saved":
                self.checkpoints, self.checkpointed = self.checkpoints + 1, event["documents"]
            elif kind == "finished":
                self.read, self.read_at = event.get("read", self.read), time.monotonic()

    def is_over(self):
        return self.process.poll() is not None

    def ended(self, seconds=PATIENCE_SECONDS):
        """Waits for the end; returns the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Finding(f"still running after {seconds} s") from None
        self.listener.join()
        return code

    def most_read(self, rate):
        """Documents read, those that nobody has seen included."""
        unseen = 0 if self.process.returncode == 0 else rate * (self.over_at - self.read_at)
        return self.read + max(0, math.ceil(unseen))

    def strike(self, signum):
        """Sends the signal and waits for the end."""
        self.process.send_signal(signum)
        struck = time.monotonic()
        code = self.ended(SIGTERM_SECONDS if signum == signal.SIGTERM else PATIENCE_SECONDS)
        self.over_at = time.monotonic() if signum == signal.SIGTERM else struck
        # A run that reached its end while the signal was on its way is no fault of either.
        allowed = {0, 143 if signum == signal.SIGTERM else -signal.SIGKILL}
        if code not in allowed:
            raise Finding(f"exit code {code} after {signal.Signals(signum).name}: {self.other_lines[-3:]}")


class Finding(Exception):
    """Something that must not be."""


def wait_for(run, condition):
    """Waits until the condition holds or the run is over; says whether it holds."""
    while not condition():
        if run.is_over():
            return False
        if time.monotonic() - run.begun > PATIENCE_SECONDS:
            run.process.kill()
            raise Finding(f"nothing happened for {PATIENCE_SECONDS} s")
        # Short against a quarter of a second, the period of the events.
        time.sleep(0.01)
    return True


def run_to_end(command):
    run = Run(command)
    code = run.ended()
    if code != 0:
        raise Finding(f"exit code {code}: {run.other_lines[-5:]}")
    return run


def struck_run(place, total, options):
    """The run that is struck and resumed. Returns the strikes made and the documents read by all runs."""
    rng = random.Random(options.seed)
    rate = options.rate
    # From the first checkpoint (one second, and a little) to the last before the end.
    first, last = 1.2 * rate, total - 0.5 * rate
    step = (last - first) / options.kills
    places = [first + step * (number + rng.random()) for number in range(options.kills)]
    command = place.command(options.binary, "--resume", "--max-rate", str(rate))
    read, strikes, base, again = 0, 0, 0, False
    while strikes < options.kills:
        run = Run(command)
        if again:
            # Before a checkpoint of its own: the run has begun to read, or is just about to.
            reached = wait_for(run, lambda: run.read > 0 or time.monotonic() - run.begun > 0.5)
        else:
            goal = places[strikes]
            reached = wait_for(run, lambda: base + run.read >= goal and (run.checkpoints or base))
        if reached:
            # Events come a few times a second: without this delay all strikes would follow one.
            time.sleep(rng.random() * 0.3)
        signum = signal.SIGTERM if strikes % 5 == 4 else signal.SIGKILL
        run.strike(signum)
        strikes += 1
        read += run.most_read(rate)
        base = run.checkpointed or base
        print(f"  strike {strikes}: {signal.Signals(signum).name} at {base} documents checkpointed, {run.read} read", flush=True)
        if run.process.returncode == 0:
            raise Finding(f"the run ended before strike {strikes} of {options.kills}: take fewer kills or more seconds")
        again = not again and strikes % 4 == 0
    last_run = run_to_end(place.command(options.binary, "--resume"))
    return strikes, read + last_run.read


def table(path):
    """Column names and all rows of the table, in an order that no run can influence."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        cursor = connection.execute("SELECT * FROM documents")
        return [column[0] for column in cursor.description], sorted(cursor.fetchall(), key=repr)
    finally:
        connection.close()


CONTENT = {"file": Path.read_bytes, "sqlite": table, "memory": documents.journal}


def oracle_differences(target, place, arriving, counters):
    """How the undisturbed run differs from the independent transform."""
    found = five_steps.counter_differences(counters, place.record("summary.json"))
    found += five_steps.reject_differences(counters, place.record("rejects.jsonl"))
    if target == "file":
        return found + five_steps.file_differences(arriving, place.target)
    if target == "sqlite":
        texts = documents.rows(place.target, "documents", "document")
    else:
        texts = documents.journal(place.target).values()
    return found + five_steps.text_differences(arriving, texts, target)


def run_differences(target, calm, struck):
    """How the struck sequence's leavings differ from the undisturbed run's."""
    found = []
    if CONTENT[target](calm.target) != CONTENT[target](struck.target):
        found.append(f"{calm.target} and {struck.target} differ")
    theirs, ours = calm.rejects(), struck.rejects()
    if sorted(theirs.split(b"\n")) != sorted(ours.split(b"\n")):
        found.append(f"the dead letters differ: {theirs.count(10)} and {ours.count(10)} lines")
    elif theirs != ours:
        found.append("the dead letters stand in another order")
    if calm.counters() != struck.counters():
        found.append(f"counters {struck.counters()} instead of {calm.counters()}")
    return found


def judge(target, folder, source, expected, options):
    """All of it for one target; returns what was wrong."""
    arriving, counters = expected
    total = counters["read"]
    calm = Place(folder / "calm", source, target)
    run_to_end(calm.command(options.binary))
    wrong = oracle_differences(target, calm, arriving, counters)
    struck = Place(folder / "struck", source, target)
    strikes, read = struck_run(struck, total, options)
    wrong += run_differences(target, calm, struck)
    allowed = total + strikes * REPLAY_SECONDS_PER_STRIKE * options.rate
    print(f"  {strikes} strikes, {read} documents read of {total}: {read / total:.2f} times, {allowed / total:.2f} allowed")
    if read > allowed:
        wrong.append(f"{read} documents read, {allowed:.0f} allowed")
    return wrong


def arguments():
    parser = argparse.ArgumentParser(description="kills, resumes and compares")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--targets", default="file,sqlite,memory", type=lambda text: text.split(","))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10, help="what the paced run would last undisturbed")
    parser.add_argument("--rate", type=int, default=20_000, help="documents per second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave the folder for a closer look")
    return parser.parse_args()


def main():
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="docferry-kill-"))
    source = folder / "in.jsonl"
    count = math.ceil(options.rate * options.seconds)
    with open(source, "wb") as file:
        make = [sys.executable, MAKE_INPUT, str(count), "--malformed", "1%", "--seed", str(options.seed)]
        subprocess.run(make, check=True, stdout=file)
    expected = five_steps.expected(source)
    wrong = []
    for target in options.targets:
        print(f"{target}: {count} documents, {options.kills} strikes", flush=True)
        (folder / target).mkdir()
        try:
            found = judge(target, folder / target, source, expected, options)
        except (Finding, OSError, documents.Malformed, sqlite3.Error) as error:
            found = [f"{type(error).__name__}: {error}"]
        for each in found[:5]:
            print(f"  WRONG {each}")
        wrong += found
    if options.keep or wrong:
        print(f"see {folder}")
    else:
        subprocess.run(["rm", "-rf", folder], check=True)
    print("wrong" if wrong else "right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
