// Follows a topic through nodes by a library's own WebSocket provider, unmodified: subscribes, publishes, and where a node
// goes away goes on at the next one from its cursor.
//
//   node providers.mjs viem|ethers|web3 TOPIC http://HOST:PORT#TOKEN …
//
// Says a JSON object a line: {"said": "open"|"record"|"gap"|"closed"|"published"|"ended", …}. Reads commands from stdin, a line each:
// `publish KEY` and `end`.

import { createInterface } from 'node:readline';

const [library, topic, ...nodes] = process.argv.slice(2);
const say = (said, more = {}) => console.log(JSON.stringify({ said, ...more }));

// Each way to open gives {request(method, params), subscribe(wanted, onFrame), closed, close()}.
const ways = {
  async viem(url) {
    const { createClient, webSocket } = await import('viem');
    const client = createClient({ transport: webSocket(url, { reconnect: false, retryCount: 0 }) });
    const rpc = await client.transport.getRpcClient();
    return {
      request: (method, params) => client.request({ method, params }),
      async subscribe(wanted, onFrame) {
        const { unsubscribe } = await client.transport.subscribe({
          params: ['records', wanted],
          onData: (data) => onFrame(data.result),
        });
        return unsubscribe;
      },
      closed: new Promise((done) => rpc.socket.addEventListener('close', done)),
      close: () => rpc.close(),
    };
  },

  async ethers(url) {
    const { WebSocketProvider, SocketSubscriber } = await import('ethers');
    class Records extends SocketSubscriber {
      constructor(provider, wanted, onFrame) {
        super(provider, ['records', wanted]);
        this.onFrame = onFrame;
      }
      async _emit(_provider, frame) {
        this.onFrame(frame);
      }
    }
    const provider = new WebSocketProvider(url);
    const closed = new Promise((done) => provider.websocket.addEventListener('close', done));
    provider.websocket.addEventListener('error', () => {});
    await Promise.race([provider.getNetwork(), closed.then(() => Promise.reject(new Error('closed')))]);
    return {
      request: (method, params) => provider.send(method, params),
      async subscribe(wanted, onFrame) {
        const records = new Records(provider, wanted, onFrame);
        records.start();
        return async () => records.stop();
      },
      closed,
      close: () => provider.websocket.close(),
    };
  },

  async web3(url) {
    const { Web3 } = await import('web3');
    const provider = new Web3.providers.WebsocketProvider(url, {}, { autoReconnect: false });
    const web3 = new Web3(provider);
    provider.on('error', () => {});
    const closed = new Promise((done) => provider.on('disconnect', done));
    const send = (method, params) => web3.requestManager.send({ method, params });
    await Promise.race([send('net_version', []), closed.then(() => Promise.reject(new Error('closed')))]);
    return {
      request: send,
      async subscribe(wanted, onFrame) {
        const early = [];
        let id;
        const hear = ({ params }) => {
          if (id === undefined) early.push(params);
          else if (params?.subscription === id) onFrame(params.result);
        };
        provider.on('message', (message) => message?.method === 'eth_subscription' && hear(message));
        id = await send('eth_subscribe', ['records', wanted]);
        early.filter(({ subscription }) => subscription === id).forEach(({ result }) => onFrame(result));
        return () => send('eth_unsubscribe', [id]);
      },
      closed,
      close: () => provider.disconnect(1000, 'done'),
    };
  },
};

// A browser cannot send the token with its socket: a ticket stands for it.
async function open(node) {
  const [url, token] = node.split('#');
  const answer = await fetch(`${url}/api/v1/tickets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(2000),
  });
  if (!answer.ok) throw new Error(await answer.text());
  const { ticket } = await answer.json();
  const way = await ways[library](`${url.replace('http', 'ws')}/rpc?ticket=${ticket}`);
  // ethers leaves what is asked of a socket that closes unanswered for ever.
  const gone = way.closed.then(() => Promise.reject(new Error('the socket closed')));
  gone.catch(() => {});
  return { ...way, request: (method, params) => Promise.race([way.request(method, params), gone]) };
}

// Where this client stands: a cursor, and what it saw since.
let cursor;
let seen = {};
let current;
let unsubscribe;
let ending = false;

function hear(frame) {
  if (frame.cursor) {
    cursor = frame.cursor;
    seen = {};
  }
  if (frame.type === 'record') {
    const [origin, log, seq] = frame.id.split('/');
    seen[`${origin}/${log}`] = Number(seq);
    say('record', { id: frame.id, key: frame.payload.k });
  } else if (frame.type === 'gap' || frame.type === 'error') {
    say('gap', { frame });
  } else if (frame.type === 'caught_up') {
    say('caught_up');
  }
}

async function follow() {
  for (let turn = 0; !ending; turn++) {
    const node = nodes[turn % nodes.length];
    try {
      current = await open(node);
      const version = await current.request('web3_clientVersion', []);
      const chain = await current.request('eth_chainId', []);
      const start = cursor ? { cursor, ...seen } : 'live';
      unsubscribe = await current.subscribe({ topics: [topic], start }, hear);
      const status = await current.request('anode_status', []);
      say('open', { node, version, chain, id: status.node.id });
      await current.closed;
      say('closed', { node });
    } catch (error) {
      say('closed', { node, error: String(error?.message ?? error) });
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}

async function publish(key) {
  for (;;) {
    try {
      const { id } = await current.request('anode_publish', [{ topic, payload: { k: key }, dedupe: key }]);
      return say('published', { id, key });
    } catch {
      // The node may be gone: the key makes it harmless to say it again.
      await new Promise((done) => setTimeout(done, 200));
    }
  }
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const [command, key] = line.split(' ');
  if (command === 'publish') {
    await publish(key);
  } else {
    ending = true;
    await unsubscribe();
    say('ended', { history: await current.request('anode_history', [{ topics: [topic], limit: 1 }]) });
    await current.close();
    setTimeout(() => process.exit(0), 200);
  }
});

await follow();
