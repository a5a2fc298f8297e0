#!/usr/bin/env python3
"""Verifies proofs of aNode records by shared/FORMAT.md alone, with nothing but Python's standard library.

  verify.py PROOF.json [MORE.json ...]  checks answers of GET /api/v1/records/{origin}/{log}/{seq}; - is stdin
  verify.py --vectors VECTORS.json      checks shared/format-vectors.json
  verify.py --mutate N SEED PROOF.json  flips one bit of a proof, N times, and counts how often it is refused

Exits with 0 when all fits, 1 when something does not, 2 when the input cannot be read.
"""
import base64
import hashlib
import json
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path

def need(fits, what):
    """Fails with `what` unless it fits."""
    if not fits:
        raise ValueError(what)

# ---- CBOR (RFC 8949): definite lengths only, integers of any width, no key twice

class Cbor:
    """Reads items from the front of some bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        """Takes the next bytes."""
        part = self.data[self.at : self.at + count]
        need(len(part) == count, "the bytes end too early")
        self.at += count
        return part

    def item(self, depth=0):
        """Takes an item; what no struct of the page uses comes as a tuple."""
        need(depth <= 32, "CBOR nests too deep")  # The page names no limit; today's structs nest four deep.
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        need(info < 28, "CBOR of indefinite length or of a reserved form")
        value = info if info < 24 else int.from_bytes(self.take(1 << (info - 24)), "big")
        if major < 2:
            return value if major == 0 else -1 - value
        if major < 4:
            return self.take(value) if major == 2 else self.take(value).decode()
        if major == 4:
            return [self.item(depth + 1) for _ in range(value)]
        if major > 5:
            need(major == 6 or info != 24 or value >= 32, "CBOR has a simple value of a reserved form")
            return ("tag", value, self.item(depth + 1)) if major == 6 else ("simple or float", info, value)
        found = {}
        for _ in range(value):
            key = self.item(depth + 1)
            key = key if type(key) is int else ascii(key)  # As a text, it is no struct's.
            need(key not in found, f"CBOR has the key {key} twice")
            found[key] = self.item(depth + 1)
        return found

# ---- Structs: lists of (name, kind), each at the place of its key; `?` marks what may be absent

def unsigned(low=0, high=2**64 - 1):
    """A kind: an unsigned integer."""
    return lambda value: type(value) is int and low <= value <= high

def octets(low, high=None):
    """A kind: a byte string of so many bytes."""
    return lambda value: type(value) is bytes and low <= len(value) <= (low if high is None else high)

def text(low=0, high=2**64):
    """A kind: a text of so many bytes."""
    return lambda value: type(value) is str and low <= len(value.encode()) <= high

def topic(value):
    """A kind: a topic."""
    tokens = r"\$?[a-z0-9_-]+(\.[a-z0-9_-]+){0,15}"
    return type(value) is str and len(value) <= 200 and re.fullmatch(tokens, value) is not None

TIME = unsigned(high=253402300799999999)
SOURCE = [("name", text()), ("definition", octets(32)), ("status", unsigned()), ("fetched", TIME)]
PUBLISHER_SIGNATURE = [(name, text()) for name in ("scheme", "address", "time", "nonce", "signature")]
RECORD = [
    ("topic", topic), ("time", TIME), ("payload", octets(0, 131072)), ("content_type?", text()),
    ("source?", SOURCE), ("publisher?", text()), ("publisher_signature?", PUBLISHER_SIGNATURE),
    ("dedupe?", text(1, 64)),
]
HEADER = [
    ("version", unsigned(1, 1)), ("network", text(1, 64)), ("origin", octets(32)), ("log", unsigned()),
    ("first", unsigned(1)), ("count", unsigned(1, 256)), ("previous", octets(32)),
    ("predecessor?", [("log", unsigned()), ("end", unsigned())]), ("shard_bits", unsigned(0, 16)),
    ("shard", unsigned()), ("time_first", TIME), ("time_last", TIME), ("root", octets(32)),
]

def struct(value, table, what):
    """Turns a map into names and values, passing over unknown keys; what is absent is None."""
    need(type(value) is dict, f"{what} is not a map")
    found = {}
    for key, (name, kind) in enumerate(table):
        name, optional = name.rstrip("?"), name.endswith("?")
        need(key in value or optional, f"{what} has no {name}")
        nested = key in value and type(kind) is list
        found[name] = struct(value[key], kind, name) if nested else value.get(key)
        need(key not in value or nested or kind(value[key]), f"{what} has a {name} that is not allowed")
    return found

def decode(data, table, what, most):
    """Decodes bytes that hold one struct and nothing else."""
    need(len(data) <= most, f"{what} has more than {most} bytes")
    reader = Cbor(data)
    found = struct(reader.item(), table, what)
    need(reader.at == len(data), f"{what} is followed by other bytes")
    return found

def read_record(data):
    """Decodes a record."""
    record = decode(data, RECORD, "record", 139264)
    if record["content_type"] is None:
        whole = len(record["payload"].decode().encode())
        need(skip_value(record["payload"], 0) == whole, "record has a payload that is not JSON")
    return record

def read_header(data):
    """Decodes a header and checks what it must be by itself."""
    header = decode(data, HEADER, "header", 2048)
    before, opens = header["predecessor"], header["first"] == 1
    need(header["first"] + header["count"] < 2**64, "header has seqs beyond 64 bits")
    need(header["shard"] < 1 << header["shard_bits"], "header has a shard beyond its shard_bits")
    need(before is None or opens, "header has a predecessor though it does not open its log")
    need(before is None or before["log"] < header["log"], "header has a predecessor that is not older")
    need(before or not opens or header["previous"] == bytes(32), "header has a previous but no predecessor")
    return header

# ---- Ed25519 (RFC 8032), strictly: canonical encodings, no point of small order, no cofactor
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

def add(a, b):
    """Adds two points in extended coordinates (RFC 8032, 5.1.4)."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    g, h = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P

def multiply(scalar, base):
    """Adds a point to itself so many times."""
    total = (0, 1, 1, 0)
    while scalar:
        total = add(total, base) if scalar & 1 else total
        base, scalar = add(base, base), scalar >> 1
    return total

def equal(a, b):
    """Whether two points are one."""
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0

def point(data, what):
    """Decodes a point (RFC 8032, 5.1.3) and refuses it when it is of small order."""
    y, sign = int.from_bytes(data, "little") & (1 << 255) - 1, data[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    need((x * x - square) % P == 0, f"{what} is not on the curve")
    need(y < P and (x or not sign), f"{what} is not canonical")
    x = P - x if x & 1 != sign else x
    found = (x, y, 1, x * y % P)
    need(not equal(multiply(8, found), (0, 1, 1, 0)), f"{what} is of small order")
    return found

BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"), "the base")

def check_signature(key, header_bytes, signature):
    """Checks the signature over a header."""
    need(len(signature) == 64, "signature is not 64 bytes long")
    a, r = point(key, "the origin's key"), point(signature[:32], "the signature's R")
    need((s := int.from_bytes(signature[32:], "little")) < L, "the signature's S is not canonical")
    signed = signature[:32] + key + b"anode/1 batch header\n" + header_bytes
    k = int.from_bytes(hashlib.sha512(signed).digest(), "little") % L
    need(equal(multiply(s, BASE), add(r, multiply(k, a))), "signature is not the origin's over this header")

# ---- Hashes and texts

def sha256(data):
    """The page's H."""
    return hashlib.sha256(data).digest()

def leaf(record_bytes):
    """The hash of a record."""
    return sha256(b"\0" + record_bytes)

def check_path(header, index, reached, path):
    """Walks from a leaf up to the header's root (RFC 9162, 2.1.3.2)."""
    need(type(index) is int and 0 <= index < header["count"], "index is outside the batch")
    fn, sn = index, header["count"] - 1
    for sibling in path:
        need(sn != 0 and len(sibling) == 32, "path is too long or has a hash that is not 32 bytes long")
        right = fn & 1 or fn == sn
        reached = sha256(b"\1" + (sibling + reached if right else reached + sibling))
        while right and fn & 1 == 0 and fn != 0:
            fn, sn = fn >> 1, sn >> 1
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "path is too short")
    need(reached == header["root"], "record_bytes, index and path do not lead to the header's root")

def shard_of(name, bits):
    """The first bits of a topic's hash, as a number."""
    return int.from_bytes(sha256(name.encode()), "big") >> (256 - bits)

def check_belongs(record, header):
    """Checks that a record's time and topic are among those that its header spans."""
    need(header["time_first"] <= record["time"] <= header["time_last"], "record has a time outside its batch")
    need(shard_of(record["topic"], header["shard_bits"]) == header["shard"], "record is of another shard")

def origin_text(key):
    """A key as a libp2p peer id in base58; its one leading zero byte is the `1` in front."""
    number, digits = int.from_bytes(b"\x24\x08\x01\x12\x20" + key, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + digits
    return "1" + digits

def unbase64(value, what):
    """Decodes base64 in its one canonical form."""
    data = base64.b64decode(value, validate=True) if type(value) is str else b""
    need(base64.b64encode(data).decode() == value, f"{what} is not base64")
    return data

# ---- JSON (RFC 8259), scanned without recursion, so that raw bytes stay raw and depth does no harm
SPACE, OPEN, COMMA = re.compile(rb"[ \t\r\n]*"), re.compile(rb"\{"), re.compile(rb",")
CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}
STRING = rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
NAME = re.compile(STRING + rb"[ \t\r\n]*:")
VALUE = re.compile(STRING + rb"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|[{\[]")

def skip(data, at, pattern, what):
    """The place behind white space and what the pattern matches."""
    found = pattern.match(data, SPACE.match(data, at).end())
    need(found, f"JSON lacks {what} at byte {at}")
    return found.end()

def skip_value(data, at):
    """The place behind a value and the white space after it."""
    due = bytearray()  # The brackets still to be closed, the innermost last.
    while True:
        at = skip(data, at, VALUE, "a value")
        opened = data[at - 1] in CLOSING  # No other value ends in such a byte.
        due += bytes([CLOSING[data[at - 1]]] if opened else [])
        at = SPACE.match(data, at).end()
        while due and data[at : at + 1] == due[-1:]:
            del due[-1]
            at, opened = SPACE.match(data, at + 1).end(), False
        if not due:
            return at
        at = at if opened else skip(data, at, COMMA, "a comma")
        at = skip(data, at, NAME, "a name") if due[-1] == ord("}") else at

def members(data):
    """The raw value of each top-level member, with the white space around it."""
    need(skip_value(data, 0) == len(data.decode().encode()), "JSON is followed by other bytes")
    at, spans = skip(data, 0, OPEN, "an object"), {}
    more = data[SPACE.match(data, at).end()] != ord("}")
    while more:
        start = skip(data, at, NAME, "a name")
        name, end = json.loads(data[at:start].strip(b" \t\r\n:")), skip_value(data, start)
        need(name not in spans, f"JSON has {name!a} twice")
        spans[name] = data[start:end]
        at, more = end + 1, data[end] == ord(",")
    return spans

def unique(pairs):
    """An object in which no member stands twice."""
    need(len(dict(pairs)) == len(pairs), "JSON has a member twice")
    return dict(pairs)

SAID = ("topic", "time", "source", "publisher", "content_type", "publisher_signature")

def read_answer(data):
    """Reads the members that the page names, null where absent; `payload` stays raw."""
    spans = members(data)
    said = {name: spans.get(name, b"null") for name in SAID + ("id", "payload_base64", "proof")}
    said = {name: json.loads(span, object_pairs_hook=unique) for name, span in said.items()}
    return {**said, "payload": spans.get("payload", b"")}

# ---- Proof
PARTS = ("record_bytes", "header", "signature", "index", "path")

def check_said(said, record):
    """Checks that the JSON says what the record says."""
    source, payload, raw = record["source"], record["payload"], said["payload"]
    time = (datetime(1970, 1, 1) + timedelta(microseconds=record["time"])).isoformat(timespec="microseconds")
    true = {**record, "source": source and source["name"], "time": time + "Z"}
    for name in SAID:
        need(said[name] == true[name], f"the JSON's {name} is not the record's")
    if record["content_type"] is None:
        need(said["payload_base64"] is None, "the JSON has a payload_base64 for a JSON payload")
        alike = payload in raw and payload.strip(b" \t\r\n") == raw.strip(b" \t\r\n")
        need(alike, "the JSON's payload is not the record's, byte for byte")
    else:
        need(raw.strip() in (b"", b"null"), "the JSON has a payload beside its content_type")
        raw = unbase64(said["payload_base64"], "payload_base64")
        need(raw == payload, "the JSON's payload_base64 is not the record's")

def verify(said):
    """Checks an answer as *Proof of one record* demands and returns the record's id and origin."""
    need(type(said["proof"]) is dict, "the answer has no proof")
    proof = {name: said["proof"].get(name) for name in PARTS}
    record_bytes, header_bytes, signature = (unbase64(proof[name], name) for name in PARTS[:3])
    header = read_header(header_bytes)
    check_signature(header["origin"], header_bytes, signature)
    need(type(proof["path"]) is list, "path is not a list")
    path = [unbase64(sibling, "path") for sibling in proof["path"]]
    check_path(header, proof["index"], leaf(record_bytes), path)
    record, origin = read_record(record_bytes), origin_text(header["origin"])
    check_belongs(record, header)
    name = f"{origin}/{header['log']:016x}/{header['first'] + proof['index']}"
    need(said["id"] == name, f"the JSON's id is not {name}")
    check_said(said, record)
    return name, origin

# ---- Commands

def load(path):
    """Reads a file, or stdin for `-`."""
    return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()

def check_answer(path):
    """Checks one answer, says how it went, and returns the exit status."""
    status = 2
    try:
        said, status = read_answer(load(path)), 1
        print("ok {} signed by {}".format(*verify(said)))
        return 0
    except (OSError, ValueError, RecursionError) as error:
        print(f"FAILED {'unreadable: ' if status == 2 else ''}{error}")
        return status

def main(arguments):
    """Runs what the command line asks for."""
    if arguments[:1] in (["--vectors"], ["--mutate"]):
        import verify_self  # Only these two commands need it.
        return verify_self.main(arguments)
    if not arguments:
        print(__doc__, file=sys.stderr)
    return max([check_answer(path) for path in arguments], default=2)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
