// A js-libp2p peer that joins a mesh and verifies the batches that it hears by shared/FORMAT.md alone.
//
//   node peer.mjs ADDRESS NETWORK SECONDS   dials a node's /ws address and prints a line of JSON for each batch
//
// Each line holds the batch's ids and payloads, or why it is refused. Before the first line it says that it listens.
// Of the first batches a copy is spoilt bit by bit; what of it is not refused is said too.
import './elder.mjs'
import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto'
import { gossipsub } from '@chainsafe/libp2p-gossipsub'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const need = (fits, what) => { if (!fits) throw new Error(what) }
const H = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const utf8 = new TextDecoder('utf-8', { fatal: true })

// ---- CBOR (RFC 8949): definite lengths only; integers as BigInt, maps as Map

class Cbor {
  constructor (bytes) { this.bytes = bytes; this.at = 0 }

  take (count) {
    need(this.at + count <= this.bytes.length, 'the bytes end too early')
    this.at += count
    return this.bytes.subarray(this.at - count, this.at)
  }

  item (depth = 0) {
    need(depth <= 128, 'CBOR nests too deep')
    const first = this.take(1)[0]
    const [major, info] = [first >> 5, first & 31]
    need(info < 28, 'CBOR of indefinite length or of a reserved form')
    const value = info < 24 ? BigInt(info) : BigInt('0x' + Buffer.from(this.take(1 << (info - 24))).toString('hex'))
    const count = Number(value)
    if (major === 0) return value
    if (major === 2) return this.take(count)
    if (major === 3) return utf8.decode(this.take(count))
    if (major === 4) return Array.from({ length: count }, () => this.item(depth + 1))
    if (major === 7) return { simple: count }
    need(major === 5, 'CBOR holds what no struct of the format does')
    const map = new Map()
    for (let n = 0; n < count; n++) {
      const key = this.item(depth + 1)
      need(!map.has(key), 'CBOR has a key twice')
      map.set(key, this.item(depth + 1))
    }
    return map
  }
}

/** Decodes bytes that hold one map and nothing else. */
function struct (bytes, what) {
  const cbor = new Cbor(bytes)
  const map = cbor.item()
  need(map instanceof Map && cbor.at === bytes.length, `${what} is not one map`)
  return map
}

const isNumber = (value, low, high) => typeof value === 'bigint' && value >= low && value <= high
const isBytes = (value, length) => value instanceof Uint8Array && value.length === length
const TIME = 253402300799999999n
const U64 = (1n << 64n) - 1n

function readHeader (bytes, network) {
  need(bytes.length <= 2048, 'the header is too long')
  const map = struct(bytes, 'the header')
  const names = ['version', 'network', 'origin', 'log', 'first', 'count', 'previous', 'predecessor', 'bits', 'shard', 'from', 'to', 'root']
  const header = Object.fromEntries(names.map((name, key) => [name, map.get(BigInt(key))]))
  need(header.version === 1n && header.network === network, 'the header is of another version or network')
  need([header.origin, header.previous, header.root].every((part) => isBytes(part, 32)), 'a key or hash is not 32 bytes long')
  need(isNumber(header.log, 0n, U64) && isNumber(header.first, 1n, U64), 'the log or its seq is out of bounds')
  need(isNumber(header.count, 1n, 256n) && header.first + header.count < 1n << 64n, 'the count is out of bounds')
  need(isNumber(header.bits, 0n, 16n) && isNumber(header.shard, 0n, (1n << header.bits) - 1n), 'the shard is out of bounds')
  need(isNumber(header.from, 0n, TIME) && isNumber(header.to, header.from, TIME), 'the times are out of bounds')
  const before = header.predecessor
  need(before === undefined || header.first === 1n, 'a predecessor stands in a header that opens no log')
  need(before === undefined || (isNumber(before.get(0n), 0n, header.log - 1n) && isNumber(before.get(1n), 1n, U64)), 'the predecessor is none')
  need(before !== undefined || header.first !== 1n || header.previous.every((byte) => byte === 0), 'a log opens behind nothing that is named')
  return header
}

function readRecord (bytes, header, time) {
  need(bytes.length <= 139264, 'a record is too long')
  const map = struct(bytes, 'a record')
  const [topic, when, payload, type] = [0n, 1n, 2n, 3n].map((key) => map.get(key))
  need(typeof topic === 'string' && topic.length <= 200 && /^\$?[a-z0-9_-]+(\.[a-z0-9_-]+){0,15}$/.test(topic), 'a topic is none')
  need(isNumber(when, time, header.to), 'a time falls or lies outside the header\'s')
  need(payload instanceof Uint8Array && payload.length <= 131072, 'a payload is too long')
  need(type === undefined || typeof type === 'string', 'a content type is no text')
  if (type === undefined) JSON.parse(utf8.decode(payload))
  const place = H(topic).readUInt16BE(0) >> (16 - Number(header.bits))
  need(BigInt(place) === header.shard, 'a topic is of another shard')
  return { topic, time: when, payload: type === undefined ? utf8.decode(payload) : null }
}

// ---- The Merkle tree (RFC 6962, 2.1), the signature, names

function root (leaves) {
  if (leaves.length === 1) return leaves[0]
  let half = 1
  while (half * 2 < leaves.length) half *= 2
  return H(Uint8Array.of(1), root(leaves.slice(0, half)), root(leaves.slice(half)))
}

// RFC 8032 as OpenSSL checks it: what a node refuses beyond that (keys of small order) nobody signs by accident.
function checkSignature (origin, header, signature) {
  const x = Buffer.from(origin).toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const signed = Buffer.concat([Buffer.from('anode/1 batch header\n'), header])
  need(verifySignature(null, signed, key, signature), 'the signature is not the origin\'s over this header')
}

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
function base58 (bytes) {
  let [number, text] = [BigInt('0x' + Buffer.from(bytes).toString('hex')), '']
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text
  for (const byte of bytes) { if (byte !== 0) break; text = '1' + text }
  return text
}

/** Verifies a batch; gives its log and records. */
function readBatch (bytes, network) {
  need(bytes.length <= 262144, 'the batch is too long')
  let at = 0
  const take = (count) => {
    need(at + count <= bytes.length, 'the batch is cut short')
    at += count
    return bytes.subarray(at - count, at)
  }
  const lead = () => take(Buffer.from(take(4)).readUInt32LE(0))
  const headerBytes = lead()
  const signature = take(64)
  const header = readHeader(headerBytes, network)
  checkSignature(header.origin, headerBytes, signature)
  const records = Array.from({ length: Number(header.count) }, lead)
  need(at === bytes.length, 'bytes follow the last record')
  const leaves = records.map((record) => H(Uint8Array.of(0), record))
  need(Buffer.compare(root(leaves), Buffer.from(header.root)) === 0, 'the root does not fit the records')
  let time = header.from
  const read = records.map((record) => {
    const one = readRecord(record, header, time)
    time = one.time
    return one
  })
  const origin = base58(Buffer.concat([Buffer.from('002408011220', 'hex'), header.origin]))
  const log = `${origin}/${header.log.toString(16).padStart(16, '0')}`
  return { log, first: Number(header.first), previous: Buffer.from(header.previous).toString('hex'), hash: H(headerBytes).toString('hex'), records: read }
}

/** Flips bits of a batch, one at a time; gives the places where it is still taken. */
function spoil (bytes, network, times) {
  const taken = []
  for (let n = 0; n < times; n++) {
    const bit = Math.floor(Math.random() * bytes.length * 8)
    const copy = Uint8Array.from(bytes)
    copy[bit >> 3] ^= 1 << (bit & 7)
    try { readBatch(copy, network); taken.push(bit) } catch {}
  }
  return taken
}

// ---- The peer

const [address, network, seconds] = process.argv.slice(2)
const say = (what) => process.stdout.write(JSON.stringify(what, (_, value) => typeof value === 'bigint' ? String(value) : value) + '\n')
const node = await createLibp2p({
  start: false,
  transports: [webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify({ agentVersion: 'js-libp2p' }),
    pubsub: gossipsub({
      globalSignaturePolicy: 'StrictNoSign',
      msgIdFn: (message) => H(message.data).subarray(0, 16),
      maxInboundDataLength: 2 << 20,
      fallbackToFloodsub: false
    })
  }
})
// Nodes turn away who says that it is of another network.
node.services.identify.host.protocolVersion = `/anode/1/${network}`
const topic = `/anode/1/${network}/0-0`
let batches = 0
node.services.pubsub.addEventListener('message', ({ detail }) => {
  if (detail.topic !== topic) return
  try {
    const batch = readBatch(detail.data, network)
    say({ ...batch, type: 'batch', spoilt: batches++ < 5 ? spoil(detail.data, network, 300) : [] })
  } catch (error) {
    say({ type: 'refused', why: error.message })
  }
})
node.services.pubsub.addEventListener('gossipsub:graft', ({ detail }) => { if (detail.topic === topic) say({ type: 'listening' }) })
await node.start()
node.services.pubsub.subscribe(topic)
await node.dial(multiaddr(address))
setTimeout(async () => { await node.stop(); process.exit(0) }, Number(seconds) * 1000)
