// aNode's client: one ES module, for browsers and Node.js, without a bundler. Its types are in anode.d.ts beside it.
//
//   import { connect } from "http://127.0.0.1:8080/sdk/anode.js";
//   const mesh = connect(["http://127.0.0.1:8080", "http://127.0.0.1:8081"]);
//   for await (const record of mesh.subscribe("prices.*", { start: "last:10" })) console.log(record.topic, record.payload);
//
// A subscription outlives its node: it goes on at the next one from where the records that were taken end, so that each
// comes once. What nobody has any more comes as a gap, never as silence.

/** The first and the longest pause between attempts, in milliseconds. */
const PAUSES = [100, 5000];
/** How long a node may take to open a socket, or to say that it is there, in milliseconds. */
const OPENING = 10_000;
/** A socket that was silent for so long may be one to a machine that is gone: the node is asked whether it is there. */
const QUIET = 20_000;
/** With so many frames waiting to be taken the socket is closed, and opened anew where they end: nothing piles up. */
const MOST_WAITING = 10_000;
/** Words of refusals that another node, or a later try, may not have. */
const PASSING = new Set(["overloaded", "starting", "draining", "storage_failed", "internal", "timeout"]);

/** What a node refused: `code` is a word for programs, the message says what to change. */
export class AnodeError extends Error {
  constructor(code, message, more = {}) {
    super(message, more.cause && { cause: more.cause });
    this.name = "AnodeError";
    this.code = code;
    this.status = more.status;
    /** Whether the same may succeed later, or on another node. */
    this.passing = PASSING.has(code) || code === "unreachable";
  }
}

/** Makes a client of one node or of several, which may be any of one mesh. */
export function connect(nodes, options = {}) {
  return new Mesh(nodes, options);
}

class Mesh {
  #nodes;
  #token;
  #socket;
  /** The node that answered last. */
  #at = 0;

  constructor(nodes, { token, WebSocket } = {}) {
    this.#nodes = [nodes].flat().map(base);
    if (this.#nodes.length === 0) throw new TypeError("connect() needs the address of a node at least");
    this.#token = token;
    this.#socket = WebSocket ?? globalThis.WebSocket;
  }

  /** Follows topics; an async iterator of records and gaps, or callbacks. */
  subscribe(patterns, options = {}) {
    if (!this.#socket) {
      throw new TypeError("there is no WebSocket here: Node.js before 22 needs connect(nodes, { WebSocket }), as of the package ws");
    }
    return new Subscription([patterns].flat(), options, {
      nodes: this.#nodes,
      WebSocket: this.#socket,
      ticket: (node) => this.#ticket(node),
    });
  }

  /** Publishes a payload, and gives `{id, ack}` once it is stored as `ack` promises. */
  async publish(topic, payload, { ack = "durable", dedupe = crypto.randomUUID(), contentType, signature } = {}) {
    const bytes = contentType !== undefined;
    const record = {
      topic,
      dedupe,
      ...(bytes ? { payload_base64: base64(payload), content_type: contentType } : { payload }),
      ...(signature && { publisher_signature: signature }),
    };
    // The key makes it harmless to say it again to the same node, but not to another one.
    const at = this.#at;
    const { ids, ack: reached } = await this.#ask(`/api/v1/records?ack=${ack}`, { method: "POST", body: JSON.stringify(record) }, [at, at]);
    return { id: ids[0], ack: reached };
  }

  /** Stored records by time, page after page; gaps are given to `onGap`. */
  async *history(patterns, { since, until, after, filter, order, limit = Infinity, onGap } = {}) {
    const query = new URLSearchParams();
    for (const topic of [patterns].flat()) query.append("topic", topic);
    const given = { since: time(since), until: time(until), after: after && text(after), filter, order };
    for (const [name, value] of Object.entries(given)) if (value !== undefined) query.set(name, value);
    const told = new Set();
    let home;
    for (let left = limit; left > 0; ) {
      query.set("limit", Math.min(left, 1000));
      const page = await this.#ask(`/api/v1/records?${query}`, {}, home);
      // A page goes on where it began: its token is that node's.
      home = [this.#at, this.#at];
      for (const gap of page.gaps) {
        const name = `${gap.log} ${gap.from} ${gap.to}`;
        if (!told.has(name)) onGap?.(gap);
        told.add(name);
      }
      yield* page.records;
      left -= page.records.length;
      if (!page.next) return;
      query.set("page", page.next);
    }
  }

  /** One record with its proof. */
  record(id) {
    return this.#ask(`/api/v1/records/${id}`);
  }

  /** How the node is that answers. */
  status() {
    return this.#ask("/api/v1/status");
  }

  /** Asks a node, and where it is away the next one. */
  async #ask(path, init = {}, order = this.#nodes.map((_, place) => (this.#at + place) % this.#nodes.length)) {
    let last;
    for (const place of order) {
      try {
        const answer = await this.#fetch(this.#nodes[place], path, init);
        this.#at = place;
        return answer;
      } catch (error) {
        if (!error.passing) throw error;
        last = error;
      }
    }
    throw last;
  }

  async #fetch(node, path, init) {
    const headers = { ...(init.body && { "content-type": "application/json" }), ...(this.#token && { authorization: `Bearer ${this.#token}` }) };
    let answer;
    try {
      answer = await fetch(node + path, { ...init, headers, signal: AbortSignal.timeout(30_000) });
    } catch (cause) {
      throw new AnodeError("unreachable", `${node} does not answer`, { cause });
    }
    if (!answer.ok) throw await refusal(answer);
    return answer.json();
  }

  /** What stands for the token where no header can be set. */
  async #ticket(node) {
    if (!this.#token) return undefined;
    return (await this.#fetch(node, "/api/v1/tickets", { method: "POST" })).ticket;
  }
}

class Subscription {
  #patterns;
  #options;
  #door;
  /** A cursor, and the newest of each log that was taken since; none before the first cursor. */
  #place;
  #waiting = [];
  #wake;
  #socket;
  #failed;
  #done = false;
  /** Whether the socket was closed since too much waits. */
  #held = false;

  constructor(patterns, options, door) {
    this.#patterns = patterns;
    this.#options = options;
    this.#door = door;
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
    this.#run();
    if (options.onRecord || options.onGap) {
      this.closed = this.#deliver();
    }
  }

  /** Where it stands: give it to another subscription's `start`, on any node, to go on behind what was taken. */
  get cursor() {
    return this.#place && { ...this.#place };
  }

  /** Ends it. */
  close() {
    this.#done = true;
    this.#socket?.close();
    this.#wake?.();
  }

  /** Records and gaps, each with its `type`, as they are taken. */
  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (this.#waiting.length > 0) {
          const frame = this.#waiting.shift();
          this.#place = step(this.#place, frame);
          if (frame.type === "record" || frame.type === "gap") yield frame;
          if (this.#done) return;
        }
        if (this.#held) {
          this.#held = false;
          this.#run();
        }
        if (this.#failed) throw this.#failed;
        if (this.#done) return;
        await new Promise((wake) => (this.#wake = wake));
      }
    } finally {
      this.close();
    }
  }

  async #deliver() {
    const { onRecord, onGap } = this.#options;
    for await (const frame of this) {
      // Whoever answers with a promise is waited for.
      await (frame.type === "gap" ? onGap?.(frame) : onRecord?.(frame));
    }
  }

  /** Where the next socket begins: behind all that came, as what waits is still here. */
  #start() {
    const place = this.#waiting.reduce(step, this.cursor);
    if (place) return `after:${JSON.stringify(place)}`;
    const { start } = this.#options;
    return start && typeof start === "object" && !(start instanceof Date) ? `after:${JSON.stringify(start)}` : time(start);
  }

  /** Follows one node after the other until it is closed. */
  async #run() {
    const { nodes } = this.#door;
    let pause = PAUSES[0];
    for (let turn = 0; !this.#done && !this.#held; turn++) {
      const node = nodes[turn % nodes.length];
      try {
        const heard = await this.#follow(node);
        if (heard) pause = PAUSES[0];
      } catch (error) {
        if (!error.passing) {
          this.#failed = error;
          break;
        }
        this.#options.onState?.({ state: "away", node, error });
      }
      if (this.#done || this.#held) break;
      // Half of it by chance: clients of a node that went away do not all come at once.
      await new Promise((wake) => setTimeout(wake, pause * (0.5 + Math.random() / 2)));
      if (turn % nodes.length === nodes.length - 1) pause = Math.min(pause * 2, PAUSES[1]);
    }
    this.#wake?.();
  }

  /** Follows a node as long as its socket lasts; gives whether it said anything. */
  async #follow(node) {
    const query = new URLSearchParams();
    for (const topic of this.#patterns) query.append("topic", topic);
    const { filter } = this.#options;
    const start = this.#start();
    if (filter) query.set("filter", filter);
    if (start) query.set("start", start);
    const ticket = await this.#door.ticket(node);
    const path = `/feed?${query}`;
    const socket = new this.#door.WebSocket(node.replace(/^http/, "ws") + path + (ticket ? `&ticket=${ticket}` : ""));
    this.#socket = socket;
    if (this.#done) socket.close();
    let heard = false;
    let failed;
    await new Promise((ended) => {
      const leave = () => {
        clearTimeout(timer);
        socket.onmessage = null;
        socket.close();
        ended();
      };
      const quiet = async () => {
        const there = await fetch(`${node}/livez`, { signal: AbortSignal.timeout(OPENING) }).catch(() => null);
        if (!there?.ok) leave();
        else if (socket.readyState === 1) timer = setTimeout(quiet, QUIET);
      };
      let timer = setTimeout(leave, OPENING);
      socket.onopen = () => {
        clearTimeout(timer);
        timer = setTimeout(quiet, QUIET);
      };
      socket.onerror = () => {};
      socket.onclose = leave;
      socket.onmessage = ({ data }) => {
        clearTimeout(timer);
        timer = setTimeout(quiet, QUIET);
        if (this.#done || this.#held) return;
        const frame = JSON.parse(data);
        if (frame.type === "error") {
          failed = new AnodeError(frame.code, frame.detail);
          return;
        }
        if (!heard) this.#options.onState?.({ state: "open", node });
        heard = true;
        this.#waiting.push(frame);
        this.#wake?.();
        if (this.#waiting.length >= MOST_WAITING) {
          this.#held = true;
          socket.close();
        }
      };
    });
    if (failed) throw failed;
    // A handshake that is refused says nothing to a page; the same question without an upgrade says why.
    if (!heard && !this.#done) await refused(node, path);
    return heard;
  }
}

/** Where one stands behind a frame. */
function step(place, frame) {
  if (frame.cursor) return { cursor: frame.cursor };
  if (!place) return place;
  if (frame.type === "gap") return { ...place, [frame.log]: Math.max(place[frame.log] ?? 0, frame.to) };
  if (frame.type !== "record") return place;
  const end = frame.id.lastIndexOf("/");
  place[frame.id.slice(0, end)] = Number(frame.id.slice(end + 1));
  return place;
}

/** Finds out why a socket did not open. */
async function refused(node, path) {
  let answer;
  try {
    answer = await fetch(node + path, { signal: AbortSignal.timeout(OPENING) });
  } catch (cause) {
    throw new AnodeError("unreachable", `${node} does not answer`, { cause });
  }
  // 426: nothing is wrong with the question.
  if (answer.status !== 426) throw await refusal(answer);
  throw new AnodeError("unreachable", `the socket to ${node} closed before it said anything`);
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const code = problem.code ?? (answer.status >= 500 ? "internal" : "bad_request");
  return new AnodeError(code, problem.detail ?? `${answer.url} answers ${answer.status}`, { status: answer.status });
}

/** The address of a node without its path: `ws://` and `http://` are the same. */
function base(node) {
  const url = new URL(node, globalThis.location?.href);
  if (!/^(https?|wss?):$/.test(url.protocol)) throw new TypeError(`${node} is no address of a node: http://HOST[:PORT]`);
  return url.origin === "null" || url.protocol.startsWith("ws") ? `${url.protocol.replace("ws", "http")}//${url.host}` : url.origin;
}

function time(value) {
  return value instanceof Date ? value.toISOString() : value;
}

function text(cursor) {
  return typeof cursor === "string" ? cursor : JSON.stringify(cursor);
}

function base64(bytes) {
  let all = "";
  for (const byte of new Uint8Array(bytes.buffer ?? bytes)) all += String.fromCharCode(byte);
  return btoa(all);
}
