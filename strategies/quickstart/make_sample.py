#!/usr/bin/env python3
"""Makes the sample of the quickstart: 5 000 service orders of a company that mends heating, cooling and large kitchen
appliances in four countries. JSON Lines on standard output; the bundled file is made with

    strategies/quickstart/make_sample.py | zstd -19 -o strategies/quickstart/service_orders.jsonl.zst

Everything is invented and everything fits together: a city has its own postal codes, country, currency and coordinates; a
technician lives in the city and has the skill that the order asks for; a visit is completed after it was scheduled; amounts are
quantity times price, and the total is their sum to the cent, written with two decimals (`149.90`), which a reader
that turns numbers into floats would lose. Telephone numbers come from the ranges that the national authorities keep for
films and books, e-mail addresses from the example domains.

Equal runs give equal bytes: one seeded generator, drawn in order, and "today" is a fixed day.
"""

import datetime
import json
import random
import sys
import unicodedata
from decimal import Decimal

SEED = 5
ORDERS = 5000
# Every customer has about five orders, as with service contracts.
CUSTOMERS = 1000
TODAY = datetime.datetime(2026, 6, 30, 12, 0)

# City, country, longitude, latitude, postal codes, telephone numbers reserved for fiction (# is a digit).
CITIES = [
    ("Berlin", "DE", 13.405, 52.520, ["10115", "10437", "10999", "12047", "13353"], "+49 30 23125 ###"),
    ("Hamburg", "DE", 9.993, 53.551, ["20095", "20357", "22303", "22765"], "+49 40 66969 ###"),
    ("München", "DE", 11.582, 48.135, ["80331", "80469", "80799", "81541"], "+49 89 99998 ###"),
    ("Köln", "DE", 6.960, 50.938, ["50667", "50823", "50937", "51063"], "+49 221 4710 ###"),
    ("Paris", "FR", 2.352, 48.857, ["75003", "75011", "75014", "75018"], "+33 1 99 00 ## ##"),
    ("Lyon", "FR", 4.836, 45.764, ["69001", "69003", "69007"], "+33 4 65 71 ## ##"),
    ("Bordeaux", "FR", -0.579, 44.838, ["33000", "33100", "33800"], "+33 5 36 49 ## ##"),
    ("Stockholm", "SE", 18.069, 59.329, ["111 29", "113 51", "118 26"], "+46 8 465 004 ##"),
    ("Göteborg", "SE", 11.975, 57.709, ["411 04", "413 01", "416 54"], "+46 31 390 06 ##"),
    ("Malmö", "SE", 13.004, 55.605, ["211 19", "214 26"], "+46 40 628 04 ##"),
    ("Leeds", "GB", -1.549, 53.801, ["LS1 4AP", "LS6 2AB", "LS11 5QP"], "+44 113 496 0###"),
    ("Bristol", "GB", -2.588, 51.454, ["BS1 4DJ", "BS3 1JP", "BS8 1TH"], "+44 117 496 0###"),
    ("Edinburgh", "GB", -3.188, 55.953, ["EH1 1YZ", "EH3 9DR", "EH6 6LX"], "+44 131 496 0###"),
]

# Currency, and what a euro's worth costs there.
CURRENCIES = {"DE": ("EUR", 1), "FR": ("EUR", 1), "SE": ("SEK", 11), "GB": ("GBP", Decimal("0.85"))}

STREETS = {
    "DE": ["Gartenstraße {}", "Schillerstraße {}", "Am Mühlbach {}", "Lindenallee {}", "Bahnhofstraße {}", "Goethestraße {}"],
    "FR": ["{} rue de l'Église", "{} avenue Jean Jaurès", "{} rue Pasteur", "{} boulevard Voltaire", "{} rue des Écoles"],
    "SE": ["Storgatan {}", "Skolgatan {}", "Björkvägen {}", "Södra Vägen {}", "Ängsgatan {}"],
    "GB": ["{} Station Road", "{} Church Lane", "{} Park Avenue", "{} Victoria Street", "{} Mill Lane"],
}

NAMES = {
    "DE": ("Jörg Anke Uwe Sabine Käthe Lukas Miriam Emre Heike Björn Aylin Tobias",
           "Schäfer Weiß Krüger Bauer Yıldız Hoffmann Köhler Vogel Groß Brandt Jäger Nowak"),
    "FR": ("Élodie Benoît Chloé François Hélène Jérôme Noémie Théo Amélie Karim Inès Zoé",
           "Lefèvre Moreau Girard Benoît Chevalier Dupré Marchand Faure Bélanger Nguyen Roche Gaillard"),
    "SE": ("Åsa Björn Göran Linnéa Märta Oskar Elin Håkan Sara Jonas Maja Nils",
           "Lindström Åberg Nyström Bergqvist Öberg Sjöberg Holm Ekdahl Nordin Söderberg Hedlund Lund"),
    "GB": ("Aisha Callum Fiona Gareth Imogen Liam Moira Niall Priya Rhys Siân Tom",
           "Ashworth Brennan Campbell Davies O'Connor Fraser Hughes Iqbal Kaur MacLeod Patel Whitaker"),
}

# Each kind of work: the visit, then parts with their price in euro.
KINDS = {
    "heat-pump": ("Heat pump service visit", [
        ("HP-FLT-210", "Air filter, heat pump", 24), ("HP-CMP-045", "Compressor start relay", 86),
        ("HP-REF-032", "Refrigerant R32, per kg", 58), ("HP-SEN-007", "Outdoor temperature sensor", 31)]),
    "boiler": ("Boiler annual service", [
        ("BO-IGN-101", "Ignition electrode set", 39), ("BO-GSK-018", "Burner gasket", 17),
        ("BO-PMP-220", "Circulation pump", 184), ("BO-VLV-033", "Three-way valve", 92)]),
    "air-conditioning": ("Air conditioning inspection", [
        ("AC-FLT-115", "Filter set, wall unit", 22), ("AC-FAN-060", "Indoor fan motor", 127),
        ("AC-DRN-004", "Condensate pump", 74), ("AC-REM-009", "Remote control", 35)]),
    "refrigeration": ("Refrigerator repair visit", [
        ("RF-THR-050", "Thermostat", 42), ("RF-SEA-012", "Door seal", 36), ("RF-FAN-022", "Evaporator fan", 55)]),
    "laundry": ("Washing machine repair visit", [
        ("WM-PMP-140", "Drain pump", 48), ("WM-BRG-006", "Drum bearing kit", 63), ("WM-BLT-011", "Drive belt", 19),
        ("WM-DOR-030", "Door lock", 44)]),
    "dishwasher": ("Dishwasher repair visit", [
        ("DW-PMP-071", "Wash pump", 99), ("DW-HTR-015", "Heating element", 68), ("DW-ARM-002", "Spray arm", 21)]),
}

# What is known before a visit, and what only somebody who has been there can say; both fit every kind of appliance.
BEFORE = {
    "DE": ["Kunde bittet um Anruf 30 Minuten vorher.", "Gerät steht im Keller, Schlüssel beim Hausmeister.",
           "Klingel defekt, bitte klopfen.", "Parkplatz im Hof möglich.", "Hund im Haus, beißt nicht."],
    "FR": ["Digicode à l'entrée, 3e étage sans ascenseur.", "Le client préfère l'après-midi.",
           "Clés chez la gardienne.", "Prévoir une échelle.", "Appeler avant de passer, bébé à la maison."],
    "SE": ["Portkod lämnas per telefon.", "Ring före besöket, hund på tomten.", "Parkering på baksidan, gäller även lördagar.",
           "Kunden är hemma efter kl. 15.", "Nyckel hos grannen, dörr 2."],
    "GB": ["Ring the side bell, front door sticks.", "Tenant has the key; landlord pays.", "Parking permit at reception.",
           "Second visit for the same fault – check the wiring first.", "Customer may ask for a replacement (≈ 10 years old)."],
}
AFTER = {
    "DE": ["Läuft wieder leise.", "Fehlercode E07 gelöscht, Dichtung geprüft.", "Kunde über Wartungsvertrag für 9 €/Monat informiert."],
    "FR": ["Bruit anormal au démarrage, pièce changée.", "Étanchéité contrôlée, rien à signaler.", "Réglage effectué, client satisfait."],
    "SE": ["Läckage åtgärdat, tätningen bytt.", "Provkörd i 20 minuter utan fel.", "Rengjord; kunden bör byta filter årligen."],
    "GB": ["Reset, tested for 20 minutes – no fault.", "Loose wire at the terminal, made good.", "Ran at 21 °C on leaving; customer signed."],
}

STATUSES = ["completed"] * 58 + ["scheduled"] * 17 + ["in_progress"] * 8 + ["waiting_parts"] * 7 + ["cancelled"] * 10
PRIORITIES = ["normal"] * 7 + ["low"] * 2 + ["high"] * 2 + ["urgent"]


def ascii_name(name):
    """A name as it stands in an e-mail address: `Siân O'Connor` becomes `sian.oconnor`."""
    name = name.lower().replace("ß", "ss").replace("ı", "i").replace(" ", ".").replace("'", "")
    return unicodedata.normalize("NFD", name).encode("ascii", "ignore").decode()


def person_name(rng, country):
    first, last = (rng.choice(words.split()) for words in NAMES[country])
    return f"{first} {last}"


def customer(rng, number):
    """A customer with the city where they live."""
    city, country, longitude, latitude, postal_codes, phone = rng.choice(CITIES)
    name = person_name(rng, country)
    digits = "".join(str(rng.randrange(10)) if character == "#" else character for character in phone)
    # Within two kilometres of the centre, to four decimals: ten metres, as a geocoder gives.
    geo = [Decimal(f"{centre + rng.uniform(-0.02, 0.02):.4f}") for centre in (longitude, latitude)]
    return {
        "customer": {
            "id": f"C-{10000 + number}",
            "name": name,
            "email": f"{ascii_name(name)}{number}@example.{rng.choice(['com', 'org'])}",
            "phone": digits,
        },
        "address": {
            "street": rng.choice(STREETS[country]).format(rng.randrange(1, 120)),
            "city": city,
            "postalCode": rng.choice(postal_codes),
            "country": country,
            "geo": geo,
        },
    }


def technicians(rng):
    """Three a city; together they have every skill of the trade."""
    found = {}
    kinds = list(KINDS)
    for city in CITIES:
        skills = rng.sample(kinds, len(kinds))
        for place in range(3):
            # The shift by two lets neighbours share two skills: a colleague can stand in.
            having = sorted({skills[(place * 2 + step) % len(skills)] for step in range(4)})
            identifier = f"T-{len(found) * 3 + place + 101}"
            person = {"id": identifier, "name": person_name(rng, city[1]), "skills": having}
            found.setdefault(city[0], []).append(person)
    return found


def price(euro, country):
    """A price of the country's list, with the cents that price lists have."""
    return (Decimal(euro) * CURRENCIES[country][1]).quantize(Decimal(1)) - Decimal("0.10")


def lines(rng, kind, country):
    """The visit, labour in half hours, and up to three parts."""
    visit, parts = KINDS[kind]
    chosen = [("SV-" + kind[:2].upper(), visit, 1, price(69, country))]
    half_hours = rng.choice([1, 1, 2, 2, 3, 4, 6])
    chosen.append(("LB-050", "Labour, per half hour", half_hours, price(38, country)))
    for sku, description, euro in rng.sample(parts, rng.choice([0, 1, 1, 2, 3])):
        chosen.append((sku, description, rng.choice([1, 1, 1, 2]), price(euro, country)))
    return [
        {"sku": sku, "description": description, "qty": qty, "unitPrice": each, "amount": qty * each}
        for sku, description, qty, each in chosen
    ]


def scheduled_at(rng, status, number):
    """When the visit was planned: orders are numbered in about the order of their visits, within working hours and on
    working days, before or after today as the status demands."""
    if status == "in_progress":
        return TODAY.replace(hour=rng.randrange(7, 12), minute=rng.choice([0, 15, 30, 45]))
    days = {
        # From the first working week of the year up to yesterday.
        "completed": -175 + number * 168 // ORDERS + rng.randrange(6),
        "cancelled": -175 + number * 168 // ORDERS + rng.randrange(6),
        # Parts take up to four weeks.
        "waiting_parts": -rng.randrange(1, 28),
        "scheduled": rng.randrange(1, 30),
    }[status]
    day = TODAY + datetime.timedelta(days=days)
    # A visit that falls on a weekend moves back to Friday if it is past, on to Monday if it is to come.
    while day.weekday() > 4:
        day += datetime.timedelta(days=1 if days > 0 else -1)
    return day.replace(hour=rng.randrange(7, 17), minute=rng.choice([0, 15, 30, 45]))


def notes(rng, status, country):
    """What the office and the technician wrote; one order in four has nothing to say beforehand."""
    found = [rng.choice(BEFORE[country])] if rng.random() < 0.75 else []
    if status == "completed":
        found.append(rng.choice(AFTER[country]))
    return " ".join(found)


def instant(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def order(rng, number, customers, staff):
    status = rng.choice(STATUSES)
    who = rng.choice(customers)
    city, country = who["address"]["city"], who["address"]["country"]
    kind = rng.choice(list(KINDS))
    technician = rng.choice([person for person in staff[city] if kind in person["skills"]])
    begin = scheduled_at(rng, status, number)
    end = begin + datetime.timedelta(minutes=rng.randrange(20, 180)) if status == "completed" else None
    positions = lines(rng, kind, country)
    changed = end or min(begin, TODAY)
    return {
        "id": f"SO-2026-{number:06}",
        "orderNumber": f"{country}-{400000 + number}",
        "status": status,
        "priority": rng.choice(PRIORITIES),
        **who,
        "technician": technician,
        "scheduledAt": instant(begin),
        "completedAt": instant(end) if end else None,
        "lines": positions,
        "total": sum(line["amount"] for line in positions),
        "currency": CURRENCIES[country][0],
        "notes": notes(rng, status, country),
        "_etag": f'"{number:08x}-0000-0d00-0000-{int((changed - datetime.datetime(1970, 1, 1)).total_seconds()):08x}0000"',
    }


def text(value):
    """JSON with the decimals as they are: the standard writer knows only floats."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{text(name)}:{text(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text, value)) + "]"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def main():
    rng = random.Random(SEED)
    staff = technicians(rng)
    customers = [customer(rng, number) for number in range(CUSTOMERS)]
    for number in range(1, ORDERS + 1):
        sys.stdout.buffer.write(text(order(rng, number, customers, staff)).encode() + b"\n")


if __name__ == "__main__":
    main()
