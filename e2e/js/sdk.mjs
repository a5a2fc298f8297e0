// Follows a topic by the node's own client, which goes on at another node where one goes away.
//
//   node sdk.mjs TOPIC http://HOST:PORT#TOKEN …
//
// Says a JSON object a line, as providers.mjs; reads commands from stdin, a line each: `publish KEY`, `slow MS` (how long each record
// takes from now on), `end`.

import { createInterface } from 'node:readline';
import { writeFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';

const [topic, ...nodes] = process.argv.slice(2);
const say = (said, more = {}) => console.log(JSON.stringify({ said, ...more }));

// The module as the node serves it. Node.js imports no module by http.
const urls = nodes.map((node) => node.split('#')[0]);
const file = join(mkdtempSync(join(tmpdir(), 'anode-sdk-')), 'anode.mjs');
writeFileSync(file, await (await fetch(`${urls[0]}/sdk/anode.js`)).text());
const { connect } = await import(file);

const wrong = connect(urls, { WebSocket }).subscribe('a', { filter: 'payload.' });
const refusal = await wrong[Symbol.asyncIterator]().next().catch((error) => error);

const mesh = connect(urls, { WebSocket });
const onState = ({ state, node }) => say(state === 'open' ? 'open' : 'closed', { node, refusal: refusal.code });
const records = mesh.subscribe(topic, { start: 'live', onState });
let slow = 0;
const keys = [];

createInterface({ input: process.stdin }).on('line', async (line) => {
  const [command, word] = line.split(' ');
  if (command === 'publish') {
    const [url, token] = nodes.at(-1).split('#');
    const { id } = await connect(url, { token }).publish(topic, { k: word });
    say('published', { id, key: word });
  } else if (command === 'slow') {
    slow = Number(word);
    say('slow');
  } else {
    const history = [];
    for await (const record of mesh.history(topic, { limit: 2500 })) history.push(record.payload.k);
    const desc = [];
    for await (const record of mesh.history(topic, { order: 'desc', limit: 1 })) desc.push(record);
    const proven = await mesh.record(desc[0].id);
    say('ended', { history: { records: desc }, count: new Set(history).size, proven: proven.proof.header.length > 0 });
    records.close();
  }
});

for await (const frame of records) {
  if (frame.type === 'gap') say('gap', { frame });
  else {
    keys.push(frame.payload.k);
    say('record', { id: frame.id, key: frame.payload.k });
  }
  if (slow) await new Promise((done) => setTimeout(done, slow));
}
process.exit(0);
