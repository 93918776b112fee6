#!/usr/bin/env python3
"""Makes the input of the benchmarks and of the kill tests: N order documents, one a line, on standard output.

    benches/make_input.py 200000 > orders.jsonl
    benches/make_input.py 50000 --malformed 1% --seed 7 > damaged.jsonl

A document has about 520 bytes and the traits that make a migration slow or unfaithful: names in UTF-8, ISO dates,
an object two levels deep, two arrays, floats of 17 digits (which a careless reader rounds), a count kept as text,
and an `_etag` whose quotes are escaped. Exactly one document in ten is cancelled, so that a filter has an exact
count to be held against; with `--malformed` an exact share of the lines is not one JSON object, in turn by each
of the kinds in DAMAGE. Malformed lines are never cancelled ones: the two counts add up.

Equal arguments give equal bytes: every choice comes from one seeded generator, drawn in the order of the lines.
Speed comes from pools of ready fragments, so that a document is one formatting of about twenty pieces.
"""

import argparse
import random
import sys

FIRST_NAMES = [
    "Anna", "Bjørn", "Chloé", "Dmitri", "Eszter", "François", "Gül", "Héctor", "Ingrid", "José", "Katarzyna", "Łukasz",
    "Márta", "Noël", "Øyvind", "Paul", "Quentin", "Renée", "Søren", "Tomáš", "Ulrike", "Václav", "William", "Zoë",
    "美咲", "Анна",
]
LAST_NAMES = [
    "Andersson", "Brown", "Čapek", "Díaz", "Egger", "Fernández", "Groß", "Hansen", "Ivanova", "Jørgensen", "Kowalski",
    "Lefèvre", "Müller", "Nowak", "O'Neill", "Pettersson", "Quist", "Rossi", "Sánchez", "Tóth", "Umarov", "Varga",
    "Weber", "Yılmaz", "田中",
]
CITIES = [
    ("Genève", "CH", "1204"), ("Zürich", "CH", "8001"), ("København", "DK", "1050"), ("Malmö", "SE", "21119"),
    ("Göteborg", "SE", "41104"), ("Kraków", "PL", "31-002"), ("Łódź", "PL", "90-001"), ("Brno", "CZ", "60200"),
    ("Plzeň", "CZ", "30100"), ("Lyon", "FR", "69001"), ("Orléans", "FR", "45000"), ("Köln", "DE", "50667"),
    ("Hamburg", "DE", "20095"), ("Porto", "PT", "4000-008"), ("Évora", "PT", "7000-501"), ("Dublin", "IE", "D02 X285"),
]
STREETS = ["Hauptstraße", "Rue de l'Église", "Storgatan", "Calle Mayor", "Rynek Główny", "Market Street", "Náměstí Míru"]
CARRIERS = ["northpost", "cargoline", "swiftvan", "harbour-express"]
OPEN_STATUSES = ["completed", "completed", "completed", "shipped", "shipped", "scheduled", "in_progress", "on_hold"]
TAGS = ["fragile", "gift", "priority", "bulk", "return", "insured", "cold-chain", "export"]

# One in four holds escapes, as texts do that people typed.
NOTES = [
    "Please leave the parcel with the neighbour on the second floor if nobody answers.",
    "Livraison après 17 h, le code de l'entrée est sur le bon de commande.",
    "The lift is out of order until the end of the month, please bring a second person.",
    'Call \\"José\\" half an hour before delivery.\\nThe gate is at the back of the building.',
]

CANCELLED_SHARE = 0.10

# A block this long is written in one call: long enough that calls cost nothing, short enough to stay in cache.
LINES_PER_WRITE = 1000


def order(rng, number, is_cancelled):
    """The text of one order."""
    draw = rng.random
    pick = rng.choice
    city, country, postal_code = pick(CITIES)
    status = "cancelled" if is_cancelled else pick(OPEN_STATUSES)
    bits = rng.getrandbits
    day = f"2026-{1 + bits(8) % 12:02}-{1 + bits(8) % 28:02}"
    return (
        f'{{"id":"order-{number:09}","name":"{pick(FIRST_NAMES)} {pick(LAST_NAMES)}","status":"{status}",'
        f'"createdAt":"{day}T{bits(8) % 24:02}:{bits(8) % 60:02}:{bits(8) % 60:02}.{bits(16) % 1000:03}Z",'
        f'"city":"{city}","quantity":"{1 + bits(16) % 999}","price":{draw() * 5000!r},'
        f'"shipping":{{"carrier":"{pick(CARRIERS)}","cost":{draw() * 40!r},'
        f'"address":{{"street":"{1 + bits(8)} {pick(STREETS)}","postalCode":"{postal_code}","country":"{country}"}}}},'
        f'"tags":["{pick(TAGS)}","{pick(TAGS)}"],"readings":[{draw()!r},{draw() * 100!r}],'
        f'"note":"{pick(NOTES)}",'
        f'"_etag":"\\"{bits(32):08x}-0000-0700-0000-{bits(48):012x}\\""}}'
    ).encode()


def truncated(rng, line):
    """Cut somewhere inside: a writer died, or a copy stopped."""
    return line[: rng.randrange(1, len(line) - 1)]


def bad_escape(rng, line):
    """A Windows path written by a program that does not escape."""
    return line.replace(b'"note":"', b'"note":"C:\\x86 ')


def invalid_utf8(rng, line):
    """A Latin-1 letter among UTF-8."""
    return line.replace(b'"name":"', b'"name":"Andr\xe9 ')


def not_an_object(rng, line):
    """Good JSON, and no document."""
    return rng.choice([b"[" + line + b"]", b"null", b'"' + str(rng.random()).encode() + b'"', b"42"])


def control_character(rng, line):
    """A tab inside a string, unescaped."""
    return line.replace(b'"note":"', b'"note":"\t')


def two_in_a_line(rng, line):
    """A line end was lost."""
    return line + line


DAMAGE = [truncated, bad_escape, invalid_utf8, not_an_object, control_character, two_in_a_line]


def lines(count, malformed_share, seed):
    """All lines, without their ends."""
    rng = random.Random(seed)
    cancelled_count = round(count * CANCELLED_SHARE)
    malformed_count = round(count * malformed_share)
    special = rng.sample(range(count), cancelled_count + malformed_count)
    cancelled = set(special[:cancelled_count])
    malformed = set(special[cancelled_count:])
    damaged = 0
    for number in range(count):
        line = order(rng, number, number in cancelled)
        if number in malformed:
            line = DAMAGE[damaged % len(DAMAGE)](rng, line)
            damaged += 1
        yield line


def share(text):
    """`1%` or `0.01`."""
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    # Above 90 % there would be no room left for the cancelled tenth.
    if not 0 <= value <= 1 - CANCELLED_SHARE:
        raise argparse.ArgumentTypeError(f"{text} is not between 0% and 90%")
    return value


def main():
    parser = argparse.ArgumentParser(description="writes N order documents as JSON Lines")
    parser.add_argument("count", type=int, metavar="N")
    parser.add_argument("--malformed", type=share, default=0.0, metavar="SHARE", help="such as 1%%")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    out = sys.stdout.buffer
    block = []
    for line in lines(arguments.count, arguments.malformed, arguments.seed):
        block.append(line)
        if len(block) == LINES_PER_WRITE:
            out.write(b"\n".join(block) + b"\n")
            block.clear()
    if block:
        out.write(b"\n".join(block) + b"\n")


if __name__ == "__main__":
    main()
