// A judge of the Cosmos endpoint and of docferry that shares no line with either: the official client for JavaScript.
//
//   node judge.js exercise DATABASE                  a container's whole life in DATABASE, which is dropped at the end (local endpoint only)
//   node judge.js write DATABASE CONTAINER FILE      writes FILE's documents, a line each, through every door that the client has
//   node judge.js find DATABASE CONTAINER FILE...    the container holds the documents of these files and no others
//
// Several of these are separated by the word "then". COSMOS_ENDPOINT and COSMOS_KEY say where, NODE_PATH leads to the packages. The partition key
// of every container is /pk. What must not be ends with exit code 1 and a sentence.

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { BulkOperationType, CosmosClient } = require("@azure/cosmos");

const PARTITION_KEY = { paths: ["/pk"], kind: "Hash", version: 2 };
const SYSTEM = ["_rid", "_self", "_etag", "_attachments", "_ts"];

// The longest batch that the service takes.
const MOST_OPERATIONS = 100;

const client = new CosmosClient({ endpoint: process.env.COSMOS_ENDPOINT, key: process.env.COSMOS_KEY });

async function main(words) {
  const verbs = { exercise, write, find };
  for (let end; words.length > 0; words = words.slice(end + 1)) {
    end = words.indexOf("then") < 0 ? words.length : words.indexOf("then");
    const [verb, ...rest] = words.slice(0, end);
    await verbs[verb](...rest);
  }
  client.dispose();
}

/** Documents of a file. */
function documents(file) {
  return readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** What was written, of what was read. */
function bare(document) {
  for (const name of SYSTEM) assert.ok(name in document, `${name} is missing in ${document.id}`);
  return Object.fromEntries(Object.entries(document).filter(([name]) => !SYSTEM.includes(name)));
}

/** The value that addresses a document's logical partition; a document without the field has one, too. */
function keyOf(document) {
  return "pk" in document ? document.pk : {};
}

async function fails(code, promise) {
  await assert.rejects(promise, (error) => (assert.equal(Number(error.code), code, error.message), true));
}

async function container(database, name) {
  const made = await client.databases.createIfNotExists({ id: database });
  return (await made.database.containers.createIfNotExists({ id: name, partitionKey: PARTITION_KEY })).container;
}

// --- write: documents take turns at five doors ---

async function write(database, name, file) {
  const target = await container(database, name);
  const turns = [[], [], [], [], []];
  documents(file).forEach((document, at) => turns[at % turns.length].push(document));
  await byCreating(target, turns[0]);
  await byUpserting(target, turns[1]);
  await byTransactions(target, turns[2]);
  await byExecuting(target, turns[3]);
  await byBulk(target, turns[4]);
}

async function byCreating(target, all) {
  for (const document of all) {
    const { statusCode, resource, requestCharge } = await target.items.create(document);
    assert.deepEqual([statusCode, bare(resource)], [201, document]);
    assert.ok(requestCharge > 0);
  }
}

async function byUpserting(target, all) {
  for (const document of all) {
    const first = await target.items.upsert({ id: document.id, ...("pk" in document && { pk: document.pk }), passing: true });
    const { statusCode, etag } = await target.items.upsert(document);
    assert.deepEqual([first.statusCode, statusCode], [201, 200]);
    assert.notEqual(first.etag, etag);
  }
}

async function byTransactions(target, all) {
  for (const alike of byKey(all)) {
    for (let at = 0; at < alike.length; at += MOST_OPERATIONS) {
      const operations = alike
        .slice(at, at + MOST_OPERATIONS)
        .map((resourceBody) => ({ operationType: BulkOperationType.Create, resourceBody }));
      const { code, result } = await target.items.batch(operations, keyOf(alike[0]));
      assert.deepEqual([code, result.map((each) => each.statusCode)], [200, operations.map(() => 201)]);
    }
  }
}

async function byExecuting(target, all) {
  const operations = all.map((resourceBody) => operation(BulkOperationType.Upsert, resourceBody));
  const results = await target.items.executeBulkOperations(operations);
  results.forEach(({ response, error }) => assert.equal(response?.statusCode, 201, error?.message));
  assert.equal(results.length, all.length);
}

async function byBulk(target, all) {
  for (let at = 0; at < all.length; at += MOST_OPERATIONS) {
    const some = all.slice(at, at + MOST_OPERATIONS);
    const results = await target.items.bulk(some.map((body) => operation(BulkOperationType.Create, body)));
    assert.deepEqual(results.map((each) => each.statusCode), some.map(() => 201));
  }
}

function operation(operationType, resourceBody) {
  return { operationType, partitionKey: keyOf(resourceBody), resourceBody };
}

// --- find: by query, by feed, by key and one by one ---

async function find(database, name, ...files) {
  const source = client.database(database).container(name);
  const wanted = new Map(files.flatMap(documents).map((document) => [document.id, document]));
  const query = "SELECT * FROM c";
  await sees("the query", wanted, (options) => source.items.query(query, { maxItemCount: 97, ...options }));
  await sees("the feed", wanted, (options) => source.items.readAll({ maxItemCount: 101, ...options }));
  await sees("the query with big pages", wanted, (options) => source.items.query(query, { maxItemCount: -1, ...options }));
  const counted = await source.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll();
  assert.deepEqual(counted.resources, [wanted.size]);
  for (const alike of byKey(wanted.values())) {
    const options = { partitionKey: keyOf(alike[0]), maxItemCount: 7 };
    const few = new Map(alike.map((document) => [document.id, document]));
    await sees("the query of a key", few, (more) => source.items.query(query, { ...options, ...more }));
  }
  for (const document of [...wanted.values()].filter((_, at) => at % 10 === 0)) {
    const { statusCode, resource } = await source.item(document.id, keyOf(document)).read();
    assert.deepEqual([statusCode, bare(resource)], [200, document]);
  }
}

/** Documents of one logical partition each. */
function byKey(all) {
  const groups = new Map();
  for (const document of all) {
    const key = JSON.stringify(keyOf(document));
    groups.set(key, [...(groups.get(key) ?? []), document]);
  }
  return groups.values();
}

/** Every page is asked for by a new iterator, which knows nothing but the continuation. */
async function sees(what, wanted, iterator) {
  const found = new Map();
  let continuationToken;
  do {
    const page = await iterator({ continuationToken }).fetchNext();
    for (const document of page.resources ?? []) {
      assert.ok(!found.has(document.id), `${what} gave ${document.id} twice`);
      found.set(document.id, bare(document));
    }
    continuationToken = page.continuationToken;
  } while (continuationToken);
  assert.equal(found.size, wanted.size, `${what} found ${found.size} documents of ${wanted.size}`);
  for (const [id, document] of wanted) assert.deepEqual(found.get(id), document, `${what}: ${id}`);
}

// --- exercise: what a container's life brings ---

async function exercise(name) {
  const { database, statusCode } = await client.databases.create({ id: name });
  assert.equal(statusCode, 201);
  await fails(409, client.databases.create({ id: name }));
  await fails(404, client.database(name).container("none").read());
  const made = await database.containers.create({ id: "life", partitionKey: PARTITION_KEY, throughput: 4000 });
  assert.equal(made.statusCode, 201);
  const life = made.container;
  const { resource } = await life.read();
  assert.deepEqual(resource.partitionKey, PARTITION_KEY);
  assert.equal((await life.readOffer()).resource.content.offerThroughput, 4000);
  const listed = await database.containers.readAll().fetchAll();
  assert.deepEqual(listed.resources.map(({ id }) => id), ["life"]);
  await pointOperations(life);
  await transactions(life);
  await bulkFailures(life);
  await splits(name, life);
  await life.delete();
  await fails(404, life.read());
  await database.delete();
}

async function pointOperations(life) {
  const born = { id: "one", pk: "a", number: 1.5 };
  await life.items.create(born);
  await fails(409, life.items.create(born));
  const one = life.item("one", "a");
  const { etag, resource } = await one.read();
  assert.deepEqual(bare(resource), born);
  const accessCondition = { type: "IfMatch", condition: etag };
  const replaced = await one.replace({ ...born, number: 2 }, { accessCondition });
  assert.deepEqual([replaced.statusCode, replaced.resource.number], [200, 2]);
  await fails(412, one.replace(born, { accessCondition }));
  assert.equal((await life.item("one", "other key").read()).statusCode, 404);
  await fails(404, life.item("none", "a").replace({ id: "none", pk: "a" }));
  assert.equal((await one.delete()).statusCode, 204);
  await fails(404, one.delete());
}

/** A batch in which one operation fails leaves nothing. */
async function transactions(life) {
  await life.items.create({ id: "there", pk: "b" });
  const create = (id) => ({ operationType: BulkOperationType.Create, resourceBody: { id, pk: "b" } });
  const { code, result } = await life.items.batch([create("new"), create("there"), create("newer")], "b");
  assert.deepEqual([code, result.map(({ statusCode }) => statusCode)], [207, [424, 409, 424]]);
  assert.equal((await life.item("new", "b").read()).statusCode, 404);
  const all = [
    create("new"),
    { operationType: BulkOperationType.Read, id: "new" },
    { operationType: BulkOperationType.Replace, id: "new", resourceBody: { id: "new", pk: "b", replaced: true } },
    { operationType: BulkOperationType.Upsert, resourceBody: { id: "newer", pk: "b" } },
    { operationType: BulkOperationType.Delete, id: "there" },
  ];
  const done = await life.items.batch(all, "b");
  assert.deepEqual([done.code, done.result.map(({ statusCode }) => statusCode)], [200, [201, 200, 200, 201, 204]]);
  assert.equal((await life.item("new", "b").read()).resource.replaced, true);
}

/** In bulk each operation stands for itself. */
async function bulkFailures(life) {
  const create = (number) => operation(BulkOperationType.Create, { id: `n-${number}`, pk: `k${number % 9}`, number });
  await life.items.create(create(7).resourceBody);
  const operations = Array.from({ length: 250 }, (_, number) => create(number));
  const results = await life.items.executeBulkOperations(operations);
  results.forEach(({ operationInput, response, error }) => {
    const wanted = operationInput.resourceBody.id === "n-7" ? 409 : 201;
    assert.equal(Number(response?.statusCode ?? error?.code), wanted, operationInput.resourceBody.id);
  });
  const remove = ({ partitionKey, resourceBody: { id } }) => ({ operationType: BulkOperationType.Delete, id, partitionKey });
  for (let at = 0; at < operations.length; at += MOST_OPERATIONS) {
    const some = operations.slice(at, at + MOST_OPERATIONS).map(remove);
    const gone = await life.items.bulk(some);
    assert.deepEqual(gone.map(({ statusCode }) => statusCode), some.map(() => 204));
  }
}

/** A range is split behind the client's back, which has it in its cache: nothing may be lost. */
async function splits(name, life) {
  const all = Array.from({ length: 300 }, (_, number) => ({ id: `s-${number}`, pk: `k${number}`, number }));
  for (const again of [0, 1]) {
    const some = all.filter(({ number }) => number % 2 === again);
    const results = await life.items.executeBulkOperations(some.map((body) => operation(BulkOperationType.Create, body)));
    results.forEach(({ response, error }) => assert.equal(response?.statusCode, 201, error?.message));
    if (again) break;
    const body = JSON.stringify({ container: `${name}/life`, range: "0" });
    const split = await fetch(new URL("_split", process.env.COSMOS_ENDPOINT), { method: "POST", body });
    assert.ok(split.ok, await split.text());
  }
  const found = await life.items.query("SELECT c.id FROM c", { maxItemCount: 50 }).fetchAll();
  const ids = new Set(found.resources.map(({ id }) => id));
  for (const { id } of all) assert.ok(ids.has(id), `${id} is missing after a split`);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
