/** Where something stands in the whole mesh: an opaque text, or one with the records seen since. */
export type Cursor = string | ({ cursor: string } & { [log: string]: string | number });

/** A record, as everywhere in the API. */
export interface AnodeRecord {
  type: "record";
  /** `<origin>/<log>/<seq>`. */
  id: string;
  topic: string;
  /** When its origin accepted it, RFC 3339 with microseconds. */
  time: string;
  /** The source's name; null for a pushed record. */
  source: string | null;
  /** The wallet address or token name that pushed it, or null. */
  publisher: string | null;
  payload?: unknown;
  payload_base64?: string;
  content_type?: string;
  publisher_signature?: PublisherSignature;
}

export interface PublisherSignature {
  scheme: string;
  address: string;
  time: string;
  nonce: string;
  signature: string;
}

/** Records that are missing, both ends inclusive. */
export interface Gap {
  type: "gap";
  /** `<origin>/<log>`. */
  log: string;
  from: number;
  to: number;
  reason: "expired" | "unreachable" | "forked" | "corrupt";
}

/** What proves who accepted a record; `shared/FORMAT.md` says how. */
export interface Proof {
  record_bytes: string;
  header: string;
  signature: string;
  index: number;
  path: string[];
}

export interface ConnectOptions {
  /** A bearer token, for what is not open to all. */
  token?: string;
  /** A class as browsers have it, for Node.js before 22: that of the package `ws`. */
  WebSocket?: typeof WebSocket;
}

export interface SubscribeOptions {
  /** A CEL expression over topic, source, publisher, time and payload. */
  filter?: string;
  /** `live` (the default), `earliest`, `last:N`, `latest`, a time, or a cursor as `Subscription.cursor` gives it. */
  start?: string | Date | Exclude<Cursor, string>;
  /** Takes each record; one that gives a promise is waited for. */
  onRecord?: (record: AnodeRecord) => unknown;
  /** Takes each gap. */
  onGap?: (gap: Gap) => unknown;
  /** Is told when a node answers, and when it is away. */
  onState?: (state: { state: "open" | "away"; node: string; error?: AnodeError }) => void;
  /** Ends the subscription. */
  signal?: AbortSignal;
}

export interface Subscription extends AsyncIterable<AnodeRecord | Gap> {
  /** Where it stands: behind what was taken. */
  readonly cursor: Exclude<Cursor, string> | undefined;
  /** With callbacks: resolves once it is closed, fails where it cannot go on. */
  readonly closed?: Promise<void>;
  close(): void;
}

export interface PublishOptions {
  /** The promise that the answer gives; `durable` without it. */
  ack?: "durable" | "replicated" | "archived";
  /** The same key on the same topic within 2 minutes on one node stores nothing again; a random one without it. */
  dedupe?: string;
  /** The payload is bytes of this media type. */
  contentType?: string;
  /** The publisher's own signature. */
  signature?: PublisherSignature;
}

export interface HistoryOptions {
  since?: string | Date;
  until?: string | Date;
  after?: Cursor;
  filter?: string;
  order?: "asc" | "desc";
  /** The most records; all without it. */
  limit?: number;
  onGap?: (gap: Omit<Gap, "type">) => void;
}

export interface Mesh {
  subscribe(patterns: string | string[], options?: SubscribeOptions): Subscription;
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<{ id: string; ack: string }>;
  history(patterns: string | string[], options?: HistoryOptions): AsyncGenerator<Omit<AnodeRecord, "type">>;
  record(id: string): Promise<Omit<AnodeRecord, "type"> & { proof: Proof }>;
  status(): Promise<unknown>;
}

/** What a node refused. */
export class AnodeError extends Error {
  /** The word for programs, as in the API's problems; `unreachable` where nobody answers. */
  code: string;
  status?: number;
  /** Whether the same may succeed later, or on another node. */
  passing: boolean;
}

/** Makes a client of one node or of several, which may be any of one mesh. */
export function connect(nodes: string | string[], options?: ConnectOptions): Mesh;
