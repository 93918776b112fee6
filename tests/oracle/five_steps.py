#!/usr/bin/env python3
"""What the five steps of benches/five_steps.toml must make of an input, found another way.

    five_steps.py INPUT --file OUT.jsonl | --sqlite DB [--table T --column C] | --journal J.jsonl
                        [--summary summary.json] [--rejects rejects.jsonl]

Rename `name` and `createdAt`, remove `_etag`, cast `quantity` to an integer, set `label` to city and status, keep what is not
cancelled; malformed lines are rejected. The output is put together from the texts of the input's fields, so it is comparable byte for
byte; the input must have no white space between its tokens, as benches/make_input.py makes it.

A file is compared byte for byte; a SQLite table and a memory journal as sets of texts, because rows are keyed by id. A summary's
counters must be those expected, and a reject file must hold as many lines. Exit code 0 if all is so, 1 with the first differences if not.
"""

import argparse
import json
import sys
from collections import Counter

import documents

RENAMED = {"name": '"customerName"', "createdAt": '"created"'}

# Enough to see a pattern, few enough to read.
SHOWN = 3


def kept(line):
    """The document as it must leave, or nothing if the filter drops it. Raises Malformed."""
    documents.document(line)
    found = documents.fields(line)
    value = {field.name: field for field in found}
    city, status = value["city"], value["status"]
    if status.value == "cancelled":
        return None
    out = []
    for field in found:
        text = field.value_text
        if field.name == "_etag":
            continue
        if field.name == "quantity":
            text = str(int(field.value))
        out.append(f"{RENAMED.get(field.name, field.name_text)}:{text}")
    out.append(f'"label":"{city.value_text[1:-1]}-{status.value_text[1:-1]}"')
    return ("{" + ",".join(out) + "}").encode()


def expected(path):
    """The documents that must arrive, in source order, and the counters that must be reported."""
    counters = Counter(read=0, dropped=0, rejected=0, written=0)
    arriving = []
    for line in documents.lines(path):
        counters["read"] += 1
        try:
            document = kept(line)
        except documents.Malformed:
            counters["rejected"] += 1
            continue
        if document is None:
            counters["dropped"] += 1
        else:
            counters["written"] += 1
            arriving.append(document)
    return arriving, counters


def file_differences(arriving, path):
    data = documents.open_bytes(path)
    if data == b"".join(document + b"\n" for document in arriving):
        return []
    lines = data.split(b"\n")[:-1]
    found = [f"{path}: {len(lines)} whole lines, expected {len(arriving)}"]
    for number, (line, document) in enumerate(zip(lines, arriving), 1):
        if line != document:
            found.append(f"line {number} is  {line[:300]}\n  expected {document[:300]}")
    return found


def text_differences(arriving, texts, what):
    is_there, should_be = Counter(texts), Counter(arriving)
    missing, extra = should_be - is_there, is_there - should_be
    found = [f"{what} lacks {text[:300]}" for text in missing.elements()]
    return found + [f"{what} has {text[:300]}" for text in extra.elements()]


def counter_differences(counters, path):
    with open(path, "rb") as file:
        reported = json.load(file)["counters"]
    wrong = [name for name in counters if reported[name] != counters[name]]
    return [f"{path}: {name} is {reported[name]}, expected {counters[name]}" for name in wrong]


def reject_differences(counters, path):
    try:
        found = len(documents.lines(path))
    except FileNotFoundError:
        found = 0
    return [] if found == counters["rejected"] else [f"{path}: {found} rejects, expected {counters['rejected']}"]


def main():
    parser = argparse.ArgumentParser(description="holds a target against an independent five-step transform")
    parser.add_argument("input")
    parser.add_argument("--file")
    parser.add_argument("--sqlite")
    parser.add_argument("--table", default="documents")
    parser.add_argument("--column", default="document")
    parser.add_argument("--journal")
    parser.add_argument("--summary")
    parser.add_argument("--rejects")
    arguments = parser.parse_args()
    arriving, counters = expected(arguments.input)
    print("expected " + ", ".join(f"{name} {count}" for name, count in counters.items()))
    differences = []
    if arguments.file:
        differences += file_differences(arriving, arguments.file)
    if arguments.sqlite:
        texts = documents.rows(arguments.sqlite, arguments.table, arguments.column)
        differences += text_differences(arriving, texts, arguments.sqlite)
    if arguments.journal:
        texts = documents.journal(arguments.journal).values()
        differences += text_differences(arriving, texts, arguments.journal)
    if arguments.summary:
        differences += counter_differences(counters, arguments.summary)
    if arguments.rejects:
        differences += reject_differences(counters, arguments.rejects)
    for difference in differences[:SHOWN]:
        print(difference)
    if differences:
        print(f"{len(differences)} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
