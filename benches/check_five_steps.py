#!/usr/bin/env python3
"""Is the reference itself right? Runs the bare loop on 2 000 documents, damaged ones among them, and holds its output and
counts against an independent transform (tests/oracle/five_steps.py).

    benches/check_five_steps.py PATH_OF_THE_SLICING_BENCHMARK

A reference that leaves out some of the work would make a fine figure; this is the check that it does not.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "oracle"))

import five_steps  # noqa: E402 (its folder is only known now)


def check(program, folder, arguments):
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    with open(source, "wb") as file:
        subprocess.run([sys.executable, HERE / "make_input.py", *arguments], check=True, stdout=file)
    run = subprocess.run([program, "bare", source, target], check=True, stdout=subprocess.PIPE)
    arriving, counters = five_steps.expected(source)
    differences = five_steps.file_differences(arriving, target)
    if json.loads(run.stdout) != dict(counters):
        differences.append(f"counts {run.stdout} instead of {dict(counters)}")
    print(f"{' '.join(arguments)}: {dict(counters)}", "differ" if differences else "equal")
    return differences


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        differences = check(program, Path(folder), ["2000"])
        # A tenth damaged: every kind many times over.
        differences += check(program, Path(folder), ["2000", "--malformed", "10%", "--seed", "2"])
    print("\n".join(differences[:3]))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
