#!/usr/bin/env python3
"""Says whether a container holds exactly the documents of a file, by what the endpoint answers over HTTP.

It knows nothing of docferry: requests are made and signed here, with Python's standard library alone. Documents are read
through the feed of every physical partition, and each again by its id and its partition key, whose type must be that of the
document: under the key as a string of the same characters there must be nothing. Numbers compare as doubles, as the service keeps them; of
duplicate names the last value counts; the order of names must be that of the file.

    cosmos_documents.py ADDRESS DATABASE CONTAINER KEY_FIELD EXPECTED.jsonl        (the account's key: COSMOS_KEY)
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import sys
import urllib.parse

DATE = "Sun, 22 Nov 2026 12:00:00 GMT"
SYSTEM = {"_rid", "_self", "_etag", "_ts", "_attachments"}


def ask(connection, path, headers):
    """Status, headers and body of the answer to GET."""
    names = path.strip("/").split("/")
    is_resource = len(names) % 2 == 0
    link = "/".join(names if is_resource else names[:-1])
    kind = names[-2] if is_resource else names[-1]
    text = f"get\n{kind}\n{link}\n{DATE.lower()}\n\n"
    key = base64.b64decode(os.environ["COSMOS_KEY"])
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    token = urllib.parse.quote(f"type=master&ver=1.0&sig={signature}", safe="")
    signed = {"authorization": token, "x-ms-date": DATE, "x-ms-version": "2020-07-15", **headers}
    connection.request("GET", urllib.parse.quote(path), headers=signed)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def double(text):
    """A number as the service keeps it; a negative zero is a zero."""
    return float(text) + 0.0


def parse(text):
    """The value, with every number as a double and without what the service adds."""
    document = json.loads(text, parse_int=double, parse_float=double)
    return {name: value for name, value in document.items() if name not in SYSTEM}


def held(connection, container, page="7"):
    """Every document, range by range, in pages of so many."""
    status, _, body = ask(connection, f"{container}/pkranges", {})
    assert status == 200, (status, body)
    for found in json.loads(body)["PartitionKeyRanges"]:
        continuation = None
        while True:
            headers = {"x-ms-documentdb-partitionkeyrangeid": found["id"], "x-ms-max-item-count": page}
            if continuation:
                headers["x-ms-continuation"] = continuation
            status, answered, body = ask(connection, f"{container}/docs", headers)
            assert status == 200, (status, body)
            for document in json.loads(body, parse_int=double, parse_float=double)["Documents"]:
                yield {name: value for name, value in document.items() if name not in SYSTEM}
            continuation = answered.get("x-ms-continuation")
            if not continuation:
                break


def as_text(document):
    return json.dumps(document, ensure_ascii=True)


def main():
    address, database, name, key_field, path = sys.argv[1:]
    connection = http.client.HTTPConnection(address, timeout=60)
    container = f"/dbs/{database}/colls/{name}"
    with open(path, encoding="utf-8") as lines:
        texts = [line for line in lines if line.strip()]
    expected = [parse(text) for text in texts]
    found = sorted(as_text(document) for document in held(connection, container))
    wanted = sorted(as_text(document) for document in expected)
    for text in set(wanted) - set(found):
        print("missing:", text[:300])
    for text in set(found) - set(wanted):
        print("not expected:", text[:300])
    differs = wanted != found
    for document in expected:
        value = document[key_field] if key_field in document else {}
        item = f"{container}/docs/{document['id']}"
        key = json.dumps([value])
        status, _, body = ask(connection, item, {"x-ms-documentdb-partitionkey": key})
        if status != 200 or as_text(parse(body)) != as_text(document):
            print(f"not under its key {key}: {document['id']}: {status}")
            differs = True
        if isinstance(value, float):
            key = json.dumps([f"{value:g}"])
            status, _, _ = ask(connection, item, {"x-ms-documentdb-partitionkey": key})
            if status != 404:
                print(f"under the string {key}, too: {document['id']}: {status}")
                differs = True
    print(f"{len(found)} documents, {len(wanted)} expected")
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
