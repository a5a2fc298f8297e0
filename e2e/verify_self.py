"""The commands of verify.py that try it out: `--vectors` and `--mutate`."""
import base64
import hashlib
import json
import random

from verify import BASE, P, PARTS, TIME, Cbor, check_belongs, check_path, check_signature, decode, leaf
from verify import load, multiply, need, octets, origin_text, read_answer, read_header, read_record, sha256
from verify import shard_of, struct, unsigned, verify

def shard(value):
    """A kind: a shard as a pair of its bits and its number."""
    pair = type(value) is list and len(value) == 2 and all(map(unsigned(), value))
    return pair and value[0] <= 16 and value[1] < 1 << value[0]

LIST, MAP = (lambda value: type(value) is list), (lambda value: type(value) is dict)
CURSOR = [("version", unsigned(1, 1)), ("shards", LIST), ("since", TIME), ("origins", LIST)]
CURSOR_ORIGIN = [("origin", octets(32)), ("shard", shard), ("done", unsigned()), ("logs", MAP)]

def public_key(seed):
    """Derives the public key of a secret one (RFC 8032, 5.1.5)."""
    secret = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    x, y, z, _ = multiply(secret & (1 << 254) - 8 | 1 << 254, BASE)
    x, y = x * pow(z, -1, P) % P, y * pow(z, -1, P) % P
    return (y | (x & 1) << 255).to_bytes(32, "little")

def root_of(leaves):
    """The root over some leaves (RFC 6962, 2.1)."""
    k = 1 << (len(leaves) - 1).bit_length() >> 1
    return sha256(b"\1" + root_of(leaves[:k]) + root_of(leaves[k:])) if k else leaves[0]

def check_origin(vector):
    """Checks an origin's key and text."""
    need(public_key(bytes.fromhex(vector["seed"])).hex() == vector["key"], "key is not the seed's")
    need(origin_text(bytes.fromhex(vector["key"])) == vector["text"], "text is not the key's")

def check_log(vector):
    """Checks a log id's text."""
    need(f"{int(vector['number']):016x}" == vector["text"], "text is not the number's")

def check_record(vector):
    """Checks a record and its leaf."""
    read_record(bytes.fromhex(vector["bytes"]))
    need(leaf(bytes.fromhex(vector["bytes"])).hex() == vector["leaf"], "leaf is another")

def read_batch(data):
    """Checks a batch and returns its header's bytes, its signature, its header and its records' bytes."""
    need(len(data) <= 262144, "batch has more than 262144 bytes")
    reader = Cbor(data)
    header_bytes = reader.take(int.from_bytes(reader.take(4), "little"))
    header, signature = read_header(header_bytes), reader.take(64)
    check_signature(header["origin"], header_bytes, signature)
    records = [reader.take(int.from_bytes(reader.take(4), "little")) for _ in range(header["count"])]
    need(reader.at == len(data), "batch is followed by other bytes")
    need(root_of([leaf(record) for record in records]) == header["root"], "root is not the records'")
    decoded = [read_record(record) for record in records]
    for record in decoded:
        check_belongs(record, header)
    times = [record["time"] for record in decoded]
    need(times == sorted(times), "times fall")
    return header_bytes, signature, header, records

def check_batch(vector):
    """Checks a batch and what is said of it, and each of its proofs."""
    header_bytes, signature, header, records = read_batch(bytes.fromhex(vector["batch"]))
    true = {"header": header_bytes, "header_hash": sha256(header_bytes), "signature": signature}
    for name, value in {**true, "root": header["root"]}.items():
        need(value.hex() == vector[name], f"{name} is another")
    need([proof["index"] for proof in vector["proofs"]] == list(range(len(records))), "a proof is missing")
    for proof, record in zip(vector["proofs"], records):
        path = [bytes.fromhex(sibling) for sibling in proof["path"]]
        check_path(header, proof["index"], leaf(record), path)

def check_chain(pair):
    """Checks that a batch goes on where the one before it ends."""
    before, after = (read_header(bytes.fromhex(vector["header"])) for vector in pair)
    need(all(before[name] == after[name] for name in ("network", "origin", "log")), "the log is another")
    need(before["first"] + before["count"] == after["first"], "the seqs have a hole or overlap")
    need(sha256(bytes.fromhex(pair[0]["header"])) == after["previous"], "previous is another")

def check_shard(vector):
    """Checks a topic's shard."""
    need(shard_of(vector["topic"], vector["bits"]) == vector["shard"], "shard is another")

def check_cursor(vector):
    """Checks a cursor and what is said of it."""
    data = base64.urlsafe_b64decode(vector["text"] + "=" * (-len(vector["text"]) % 4))
    need(base64.urlsafe_b64encode(data).decode().rstrip("=") == vector["text"], "text is not base64url")
    cursor = decode(data, CURSOR, "cursor", len(data))
    need(all(map(shard, cursor["shards"])), "cursor has a shard that is not allowed")
    origins = [struct(origin, CURSOR_ORIGIN, "cursor's origin") for origin in cursor["origins"]]
    places = [(origin["origin"], origin["shard"]) for origin in origins]
    need(all(a < b for a, b in zip(places, places[1:])), "cursor has origins that do not rise")
    logs = {f"{origin_text(o['origin'])}/{log:016x}": seq for o in origins for log, seq in o["logs"].items()}
    need(logs == vector["logs"] and cursor["since"] == vector["since"], "cursor says something else")
    done = [f"{origin['done']:016x}" for origin in origins]
    need(done == ([vector["done"]] if "done" in vector else []), "cursor has another done")

def check_vectors(vectors):
    """Checks every vector, says what does not fit, and returns the exit status."""
    checks = {"records": check_record, "batches": check_batch, "shards": check_shard, "cursors": check_cursor}
    todo = [("origin", check_origin, vectors["origin"]), ("log", check_log, vectors["log"])]
    for key, check in checks.items():
        todo += [(f"{key} {n}", check, vector) for n, vector in enumerate(vectors[key])]
    for n, pair in enumerate(zip(vectors["batches"], vectors["batches"][1:])):
        todo.append((f"batches {n} and {n + 1}", check_chain, pair))
    failed = 0
    for name, check, vector in todo:
        try:
            check(vector)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            failed += 1
            print(f"FAILED {name}: {error!r}")
    print(f"{len(todo) - failed} of {len(todo)} vectors ok")
    return 1 if failed else 0

def flipped(value, dice):
    """Flips one bit of a part of a proof."""
    if type(value) is int:
        return value ^ 1 << dice.randrange(8)
    if type(value) is list:
        at = dice.randrange(len(value))
        return value[:at] + [flipped(value[at], dice)] + value[at + 1 :]
    data = bytearray(base64.b64decode(value))
    bit = dice.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    return base64.b64encode(data).decode()

def refuses(said):
    """Why an answer is refused, or nothing."""
    try:
        return verify(said) and None
    except ValueError as error:
        return error

def check_mutants(times, seed, said):
    """Flips one bit of a sound proof so many times, counts refusals, and returns the exit status."""
    if refuses(said):
        print(f"FAILED before any change: {refuses(said)}")
        return 1
    dice, refused = random.Random(seed), 0
    for _ in range(times):
        part = dice.choice([name for name in PARTS if said["proof"][name] != []])
        changed = {**said["proof"], part: flipped(said["proof"][part], dice)}
        if refuses({**said, "proof": changed}):
            refused += 1
        else:
            print(f"FAILED to refuse the {part} {changed[part]}")
    print(f"{refused} of {times} refused, seed {seed}")
    return 0 if refused == times else 1

def main(arguments):
    """Runs one of the two commands."""
    try:
        if arguments[0] == "--vectors":
            _, path = arguments
            return check_vectors(json.loads(load(path)))
        _, times, seed, path = arguments
        return check_mutants(int(times), int(seed), read_answer(load(path)))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        print(f"FAILED unreadable: {error!r}")
        return 2
