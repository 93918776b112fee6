#!/usr/bin/env python3
"""Are the documents of a target those of its source, every field of every one?

    equal_documents.py SOURCE TARGET [--ids position] [--table T --column C]

SOURCE is a JSON array or JSON Lines, plain, .gz or .zst. TARGET is the same, or a SQLite database when `--table` is given. Both are
compared as multisets: order between documents does not count, how often each stands there does. Inside a document everything
counts: the text of numbers, the order of fields, names that stand twice. Malformed lines of the source are counted and left out,
because they cannot arrive; a malformed document in the target is a difference.

With `--ids position` the target's documents carry an `id` that was made from their place in the source. It must be there, be
text and never stand twice; it is taken off before comparing.

Exit code 0 if equal, 1 with the first differences if not.
"""

import argparse
import sys
from collections import Counter

import documents

# Enough to see a pattern, few enough to read.
SHOWN = 5

# A difference is shown by its beginning.
SHOWN_CHARACTERS = 400


def source_documents(path):
    """The documents of the source as a multiset, and how many lines were none."""
    data = documents.open_bytes(path)
    if data.lstrip()[:1] == b"[":
        return Counter(documents.elements(path)), 0
    found, malformed = Counter(), 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            found[documents.document(line)] += 1
        except documents.Malformed:
            malformed += 1
    return found, malformed


def without_id(document):
    """The document without its `id`, and the id."""
    ids = [value for name, value in document[1] if name == "id"]
    if len(ids) != 1 or not isinstance(ids[0], str):
        raise documents.Malformed(f"{len(ids)} ids, or one that is not text: {str(document)[:SHOWN_CHARACTERS]}")
    return ("object", tuple(pair for pair in document[1] if pair[0] != "id")), ids[0]


def target_documents(arguments):
    if arguments.table:
        texts = documents.rows(arguments.target, arguments.table, arguments.column)
        found = [documents.document(text) for text in texts]
    else:
        found = documents.elements(arguments.target)
    if arguments.ids != "position":
        return Counter(found)
    stripped = [without_id(document) for document in found]
    twice = [id for id, count in Counter(id for _, id in stripped).items() if count > 1]
    if twice:
        raise documents.Malformed(f"ids that stand twice: {twice[:SHOWN]}")
    return Counter(document for document, _ in stripped)


def show(title, difference):
    if difference:
        print(f"{title}: {difference.total()}")
        for document, count in list(difference.items())[:SHOWN]:
            print(f"  {count} x {str(document)[:SHOWN_CHARACTERS]}")


def main():
    parser = argparse.ArgumentParser(description="compares the documents of a source and a target")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--ids", choices=["own", "position"], default="own")
    parser.add_argument("--table", help="TARGET is a SQLite database; this is the table")
    parser.add_argument("--column", default="document")
    arguments = parser.parse_args()
    source, malformed = source_documents(arguments.source)
    try:
        target = target_documents(arguments)
    except documents.Malformed as error:
        print(f"the target is damaged: {error}")
        return 1
    print(f"source {source.total()} documents ({malformed} malformed lines left out), target {target.total()}")
    missing, extra = source - target, target - source
    show("missing from the target", missing)
    show("in the target only", extra)
    return 1 if missing or extra else 0


if __name__ == "__main__":
    sys.exit(main())
