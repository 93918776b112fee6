// The JavaScript client's two ways of writing many documents, as processes that `run.py` gives turns: each line of standard input is a number of
// documents to be written once.
//
//     node bulk.mjs execute|items ENDPOINT KEY DOCUMENTS.jsonl PATH-OF-@azure/cosmos
//
// The documents are objects already: this client serialises them itself. Answers without the documents, because no one looks at them.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [way, endpoint, key, path, modules] = process.argv.slice(2);
const { CosmosClient } = createRequire(modules + "/")("@azure/cosmos");
const documents = readFileSync(path, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const operations = documents.map((document) => ({
  operationType: "Upsert",
  partitionKey: document.customer,
  resourceBody: document,
}));
const client = new CosmosClient({ endpoint, key, connectionPolicy: { enableEndpointDiscovery: false } });
const container = client.database("bench").container("orders");

// Under a hundred of one partition among four, whatever the keys; as many calls at once as there are requests in docferry.
const CALL = 240;
const CALLS = 8;

function check(answers, expected) {
  const failed = answers.filter((answer) => !(answer.statusCode >= 200 && answer.statusCode < 300));
  if (failed.length || answers.length !== expected) throw new Error(`${failed.length} of ${expected} operations failed`);
}

async function execute(chosen) {
  const answers = await container.items.executeBulkOperations(chosen, { contentResponseOnWriteEnabled: false });
  check(answers.map((answer) => answer.response ?? { statusCode: answer.error?.code }), chosen.length);
}

async function items(chosen) {
  let next = 0;
  const one = async () => {
    while (next < chosen.length) {
      const part = chosen.slice(next, (next += CALL));
      check(await container.items.bulk(part, undefined, { contentResponseOnWriteEnabled: false }), part.length);
    }
  };
  await Promise.all(Array.from({ length: CALLS }, one));
}

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const chosen = operations.slice(0, Number(line));
  const begin = process.hrtime.bigint();
  await (way === "execute" ? execute : items)(chosen);
  const wall = Number((process.hrtime.bigint() - begin) / 1000n);
  console.log(JSON.stringify({ documents: chosen.length, wall_us: wall }));
}
process.exit(0);
