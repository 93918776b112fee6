"""Documents as an outside judge reads them: exactly, and with nothing but Python's standard library.

A reader that turns `1.10` into 1.1, or of two equal names keeps one, cannot see the very faults it is to find. So
numbers stay text, objects stay lists of pairs in their order, and a line's top-level fields also keep the text they had
(`Field.name_text`, `Field.value_text`): an expected output can then be put together byte for byte.

The rules of what a document is are RFC 8259's: UTF-8, one object, nothing but white space around it. Python's reader is
laxer in one place, the words NaN and Infinity, which are refused here.
"""

import gzip
import json
import re
import sqlite3
import subprocess
from collections import namedtuple
from json.decoder import scanstring

Field = namedtuple("Field", "name name_text value value_text")

BLANK = re.compile(r"[ \t\r\n]*")


class Malformed(ValueError):
    """This is not one JSON object."""


def no_constant(word):
    raise Malformed(f"{word} is not JSON")


def number(text):
    return ("number", text)


def pairs(fields):
    return ("object", tuple((name, freeze(value)) for name, value in fields))


def freeze(value):
    """Lists become tuples, so that a document can be counted in a dictionary. Objects are frozen already. A boolean
    equals an integer in Python, but no integer is left beside it: numbers are text."""
    return ("array", tuple(freeze(each) for each in value)) if isinstance(value, list) else value


DECODER = json.JSONDecoder(
    object_pairs_hook=pairs, parse_float=number, parse_int=number, parse_constant=no_constant, strict=True
)


def text_of(line):
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(str(error)) from error


def document(line):
    """The frozen document that the bytes hold."""
    text = text_of(line).strip(" \t\r\n")
    try:
        value = freeze(DECODER.decode(text))
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not (isinstance(value, tuple) and value[0] == "object"):
        raise Malformed("not an object")
    return value


def fields(line):
    """The top-level fields that the bytes hold, each with its own text. Call it on what `document` accepts."""
    text = text_of(line)

    def after_blank(at):
        return BLANK.match(text, at).end()

    found = []
    at = after_blank(after_blank(0) + 1)
    while text[at] != "}":
        name, end = scanstring(text, at + 1, True)
        name_text = text[at:end]
        start = after_blank(after_blank(end) + 1)
        value, end = DECODER.raw_decode(text, start)
        found.append(Field(name, name_text, freeze(value), text[start:end]))
        at = after_blank(end)
        if text[at] == ",":
            at = after_blank(at + 1)
    return found


def open_bytes(path):
    """The uncompressed bytes of a file."""
    path = str(path)
    if path.endswith(".gz"):
        with gzip.open(path) as file:
            return file.read()
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    with open(path, "rb") as file:
        return file.read()


def lines(path):
    """The lines of a file that are not blank, without their ends."""
    return [line for line in open_bytes(path).split(b"\n") if line.strip()]


def elements(path):
    """The documents of a JSON array or of JSON Lines, as frozen values; a malformed one is raised."""
    data = open_bytes(path)
    if data.lstrip()[:1] != b"[":
        return [document(line) for line in data.split(b"\n") if line.strip()]
    try:
        return list(freeze(DECODER.decode(text_of(data).strip()))[1])
    except ValueError as error:
        raise Malformed(f"{path}: {error}") from error


def rows(path, table, column):
    """The text of every document of a SQLite table, in the order of the rows."""
    quoted = ['"' + name.replace('"', '""') + '"' for name in (column, table)]
    # Read-only: a judge changes nothing, not even by taking over a journal that was left behind.
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = connection.execute(f"SELECT {quoted[0]} FROM {quoted[1]} ORDER BY rowid").fetchall()
    finally:
        connection.close()
    return [value.encode() if isinstance(value, str) else bytes(value) for (value,) in found]


def journal(path):
    """What a memory journal says of each id: the text of its last document, removed ones left out.

    The document is the last field of its line, so its text is found without reading it. A torn last line was never answered."""
    latest = {}
    for line in open_bytes(path).split(b"\n")[:-1]:
        entry = {field.name: field for field in fields(line)}
        document_text = entry["document"].value_text.encode()
        if "delete" in entry and entry["delete"].value is True:
            latest.pop(entry["id"].value, None)
        else:
            latest[entry["id"].value] = document_text
    return latest
