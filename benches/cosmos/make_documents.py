#!/usr/bin/env python3
"""Makes the documents of the Cosmos benchmark: N orders of about 1 KB, one a line, on standard output.

    benches/cosmos/make_documents.py 400000 > documents.jsonl

The shape is that of a shop's order as it lies in a container: a GUID as the id, one of many customers as the partition key, dates, an
address, lines with prices, a clock reading in milliseconds, a place with six decimals and one score of seventeen digits, which a writer
must look at twice before it may say that a double holds it. Equal arguments give equal bytes.
"""

import argparse
import random
import sys

CITIES = [("Genève", "CH", "1204"), ("Malmö", "SE", "21119"), ("Kraków", "PL", "31-002"), ("Lyon", "FR", "69001"), ("Dublin", "IE", "D02 X285")]
STREETS = ["Hauptstraße", "Rue de l'Église", "Storgatan", "Calle Mayor", "Market Street"]
WARES = ["Enamel mug, 350 ml", "Desk lamp with dimmer", "Merino scarf, dark green", "USB-C cable, 2 m", "Oak cutting board", "Tomato seeds"]
STATUSES = ["paid", "shipped", "delivered", "returned"]
NOTES = [
    "Please leave the parcel with the neighbour on the second floor if nobody answers.",
    "Livraison après 17 h, le code de l'entrée est sur le bon de commande.",
    'Call \\"José\\" half an hour before delivery.\\nThe gate is at the back of the building.',
]
LINES_PER_WRITE = 1000


def guid(rng):
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def document(rng, customers):
    pick, bits = rng.choice, rng.getrandbits
    city, country, postal_code = pick(CITIES)
    day = f"2026-{1 + bits(8) % 12:02}-{1 + bits(8) % 28:02}"
    lines = ",".join(
        f'{{"sku":"{bits(40):010x}","title":"{pick(WARES)}","quantity":{1 + bits(3)},"price":{bits(20) % 90000 / 100},"taxRate":0.2}}'
        for _ in range(4)
    )
    return (
        f'{{"id":"{guid(rng)}","customer":"customer-{rng.randrange(customers):06}","type":"order","status":"{pick(STATUSES)}",'
        f'"createdAt":"{day}T{bits(8) % 24:02}:{bits(8) % 60:02}:{bits(8) % 60:02}.{bits(16) % 1000:03}Z","clock":{1780000000000 + bits(32)},'
        f'"address":{{"street":"{1 + bits(8)} {pick(STREETS)}","city":"{city}","postalCode":"{postal_code}","country":"{country}",'
        f'"location":{{"lat":{46 + rng.random() * 10:.6f},"lon":{rng.random() * 20:.6f}}}}},'
        f'"lines":[{lines}],"total":{bits(22) / 100},"score":{rng.random()!r},"isGift":{pick(["true", "false"])},'
        f'"payment":{{"method":"card","reference":"{guid(rng)}","attempts":1,"refund":null}},'
        f'"tags":["spring","newsletter","app"],"note":"{pick(NOTES)}",'
        f'"trace":{{"session":"{guid(rng)}","device":"{guid(rng)}","version":"4.12.0"}}}}'
    )


def main():
    parser = argparse.ArgumentParser(description="writes N order documents of 1 KB as JSON Lines")
    parser.add_argument("count", type=int, metavar="N")
    parser.add_argument("--customers", type=int, help="partition keys (default: one for every ten documents)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    customers = arguments.customers or max(1, arguments.count // 10)
    rng = random.Random(arguments.seed)
    out = sys.stdout.buffer
    for start in range(0, arguments.count, LINES_PER_WRITE):
        lines = (document(rng, customers) for _ in range(min(LINES_PER_WRITE, arguments.count - start)))
        out.write(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
