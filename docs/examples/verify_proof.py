"""Verifies that an event is part of the history that a notary of Vestnik has signed.

    python verify_proof.py PROOF HEADS

PROOF is the output of `vestnik audit prove EVENT_ID`, HEADS a saved answer of `/.well-known/vestnik/heads`, or a day's
file of the folder of heads, `heads-2026-01-31.jsonl`, with `keys.json` beside it. Needs Python 3.11 and the package
`cryptography`, and no access to the system. The exit code is 0 only if the proof holds. docs/howto/prove-the-audit.md
explains it.
"""

import argparse
import base64
import binascii
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]
MOST_BYTES = 16 * 1024 * 1024
# Of a day's file: it has a line of some 400 bytes for each head.
MOST_BYTES_OF_A_DAY = 256 * 1024 * 1024
# The leaves of a tree, and the sequences of a stream, are counted in 63 bits.
MOST = 2**63 - 1
HASH_BYTES, KEY_BYTES, SIGNATURE_BYTES = 32, 32, 64
# No path in a tree of so many leaves is longer.
LONGEST_PATH = 64
SHOWN = 200


class Refused(Exception):
    """The proof does not hold, or cannot be read; the message says why."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Verifies that an event is part of the history that a notary signed.")
    parser.add_argument("proof", type=Path, metavar="PROOF", help="the output of `vestnik audit prove EVENT_ID`")
    parser.add_argument("heads", type=Path, metavar="HEADS", help="a saved answer, or a day of the folder of heads")
    arguments = parser.parse_args()
    try:
        result = verify(read(arguments.proof), read_heads(arguments.heads))
    except Refused as refused:
        print(f"The proof does NOT hold: {refused}.", file=sys.stderr)
        return 1
    print(result)
    return 0


def verify(proof: Json, heads: Json) -> str:
    """Returns what is proved.

    Raises:
        Refused: nothing is.
    """
    event_id, stream = text(proof, "event_id"), text(proof, "stream")
    tree, size, index = number(proof, "tree"), number(proof, "size"), number(proof, "index", least=0)
    sequence, payload = number(proof, "sequence"), from_base64(text(proof, "payload"), "the payload")
    if (actual := text(parsed(payload, "the payload"), "id")) != event_id:
        raise Refused(f"it names the event {shown(event_id)}, and its payload is the event {shown(actual)}")
    leaf = leaf_hash(stream, sequence, text(proof, "subject"), text(proof, "message_id", least=0), payload)
    if hash_of(proof, "leaf") != leaf:
        raise Refused("the leaf is not the hash of this stream, sequence, subject, message id and payload")
    root = root_of_inclusion(index, size, leaf, hashes(proof, "path"))
    head, known = find_heads(proof, heads, stream, tree, size)
    check_signature(head, heads)
    if hash_of(head, "root") != root:
        raise Refused(f"the path does not lead to the root of tree {tree} of {shown(stream)} at size {size}")
    if sequence > number(head, "last_sequence"):
        raise Refused(f"sequence {sequence} is after the last one of the head, {head['last_sequence']}")
    lines = [
        "The proof holds.",
        f"Event {shown(event_id)} is event {sequence} of the stream {shown(stream)} ({shown(proof['subject'])}).",
        f"It is leaf {index} of tree {tree}, in the head of {size} events that was signed at {shown(head['at'])}",
        f"by the key {shown(head['key_id'])}; root {root.hex()}.",
    ]
    if known is not head:
        check_signature(known, heads)
        check_consistency(known, head, hashes(proof, "consistency"))
        lines.append(f"That head continues the one of {known['size']} events in HEADS, signed at {shown(known['at'])}.")
    return "\n".join(lines)


# The heads


def find_heads(proof: Json, heads: Json, stream: str, tree: int, size: int) -> tuple[Json, Json]:
    """Returns the head that covers the event, and the one in HEADS that it continues: the same, if HEADS has it.

    Raises:
        Refused: HEADS has neither the head of that size, nor an earlier one of that tree that the proof continues.
    """
    of_tree: dict[int, Json] = {}
    for item in objects(heads, "items"):
        if (text(item, "stream"), number(item, "tree")) == (stream, tree):
            other = of_tree.setdefault(number(item, "size"), item)
            if hash_of(other, "root") != hash_of(item, "root"):
                raise Refused(f"HEADS has two different heads of {shown(stream)} with {item['size']} events: a fork")
    if size in of_tree:
        return of_tree[size], of_tree[size]
    if "consistency" not in proof:
        sizes = ", ".join(map(str, sorted(of_tree))) or "none"
        raise Refused(f"HEADS has no head of tree {tree} of {shown(stream)} with {size} events (it has: {sizes})")
    head = proof.get("head")
    if not isinstance(head, dict):
        raise Refused("it has a consistency path, and no head that it leads to")
    if (text(head, "stream"), number(head, "tree"), number(head, "size")) != (stream, tree, size):
        raise Refused("the head in the proof is one of another stream, tree or size")
    continued = number(proof, "continues")
    if continued >= size or continued not in of_tree:
        raise Refused(f"HEADS has no head of tree {tree} of {shown(stream)} with {continued} events to continue")
    return head, of_tree[continued]


def check_signature(head: Json, heads: Json) -> None:
    key_id, root = text(head, "key_id"), hash_of(head, "root").hex()
    lines = (
        "vestnik tree head v1",
        text(head, "stream"),
        number(head, "tree"),
        number(head, "size"),
        number(head, "last_sequence"),
        root,
        text(head, "at"),
        key_id,
    )
    signature = from_hex(head.get("signature"), "signature", SIGNATURE_BYTES)
    try:
        public_key(heads, key_id).verify(signature, "".join(f"{line}\n" for line in lines).encode())
    except InvalidSignature:
        what = f"the head of {shown(head['stream'])} with {head['size']} events"
        raise Refused(f"the signature of {what} is not one by the key {shown(key_id)}") from None


def public_key(heads: Json, key_id: str) -> Ed25519PublicKey:
    keys = heads.get("keys")
    if not isinstance(keys, dict):
        raise Refused("HEADS has no `keys`")
    fitting = [key for key in objects(keys, "keys") if key.get("kid") == key_id]
    if len(fitting) != 1:
        raise Refused(f"HEADS has {len(fitting)} keys with the id {shown(key_id)}")
    if (fitting[0].get("kty"), fitting[0].get("crv")) != ("OKP", "Ed25519"):
        raise Refused(f"the key {shown(key_id)} is not an Ed25519 key")
    encoded = text(fitting[0], "x")
    if "+" in encoded or "/" in encoded or "=" in encoded:
        raise Refused(f"the key {shown(key_id)} is not base64url")
    padded = encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4)
    return Ed25519PublicKey.from_public_bytes(from_base64(padded, f"the key {shown(key_id)}", KEY_BYTES))


# Merkle trees by RFC 9162


def leaf_hash(stream: str, sequence: int, subject: str, message_id: str, payload: bytes) -> bytes:
    parts = (
        b"vestnik leaf v1",
        stream.encode(),
        sequence.to_bytes(8, "big"),
        subject.encode(),
        message_id.encode(),
        payload,
    )
    return sha256(b"\x00" + b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root_of_inclusion(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """Returns the root that a path leads to (RFC 9162, section 2.1.3.2).

    `index`: number of the leaf, from 0. `size`: number of leaves.

    Raises:
        Refused: no path of this length is one of such a leaf.
    """
    if index >= size:
        raise Refused(f"a tree of {size} leaves has no leaf {index}")
    node, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise Refused("the path is too long")
        if node & 1 or node == last:
            current = node_hash(sibling, current)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise Refused("the path is too short")
    return current


def check_consistency(older: Json, newer: Json, path: list[bytes]) -> None:
    """Checks that the newer tree begins with the older one (RFC 9162, section 2.1.4.2); `path`: of their two sizes.

    Raises:
        Refused: it does not.
    """
    sizes = number(older, "size"), number(newer, "size")
    contradiction = Refused(f"the head of {sizes[1]} events does not continue that of {sizes[0]}: a fork")
    nodes = [hash_of(older, "root"), *path] if sizes[0].bit_count() == 1 else path
    if not path:
        raise contradiction
    node, last = sizes[0] - 1, sizes[1] - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise contradiction
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last or old != hash_of(older, "root") or new != hash_of(newer, "root"):
        raise contradiction


# Reading what may have been forged


def read_heads(path: Path) -> Json:
    """Returns a saved answer as it is, and a day's file as such an answer."""
    if path.suffix != ".jsonl":
        return read(path)
    keys, heads = read(path.with_name("keys.json")), []
    for line in content(path, MOST_BYTES_OF_A_DAY).split(b"\n"):
        # A crash cuts off a line, which is written again after it.
        if line.endswith(b"}"):
            record = parsed(line, f"a line of {path}")
            if record.get("type") == "tree_head.signed":
                heads.append(record)
    return {"items": heads, "keys": keys}


def read(path: Path) -> Json:
    """Raises Refused if the file is not one JSON object of a bearable size."""
    return parsed(content(path, MOST_BYTES), str(path))


def content(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > most:
        raise Refused(f"{path} has more than {most:,} bytes")
    return data


def parsed(data: bytes, what: str) -> Json:
    """Raises Refused if the data is not one JSON object in UTF-8, or has a name twice: readers would differ on it."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=unexpected)
    except (ValueError, RecursionError):
        # Python's text would quote the data, or speak of the inside of this program.
        raise Refused(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(f"{what} is not a JSON object")
    return value


def unique(pairs: list[tuple[str, Any]]) -> Json:
    value: Json = {}
    for name, member in pairs:
        if name in value:
            raise Refused(f"a JSON object has the field {shown(name)} twice")
        value[name] = member
    return value


def unexpected(name: str) -> None:
    raise ValueError(name)


def text(source: Json, name: str, *, least: int = 1) -> str:
    value = source.get(name)
    if not isinstance(value, str) or len(value) < least:
        raise Refused(f"the field `{name}` is missing, or is not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(f"the field `{name}` is not valid Unicode") from None
    if "\n" in value:
        # The signature is over lines: a field of two would be read as two fields.
        raise Refused(f"the field `{name}` has a line break")
    return value


def number(source: Json, name: str, *, least: int = 1) -> int:
    value = source.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
        raise Refused(f"the field `{name}` is missing, or is not a whole number from {least} to {MOST}")
    return value


def objects(source: Json, name: str) -> list[Json]:
    value = source.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused(f"HEADS has no list `{name}` of objects")
    return value


def hash_of(source: Json, name: str) -> bytes:
    return from_hex(source.get(name), name)


def hashes(source: Json, name: str) -> list[bytes]:
    value = source.get(name)
    if not isinstance(value, list) or len(value) > LONGEST_PATH:
        raise Refused(f"the field `{name}` is missing, or is not a list of at most {LONGEST_PATH} hashes")
    return [from_hex(item, name) for item in value]


def from_hex(value: object, name: str, size: int = HASH_BYTES) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or set(value) - set("0123456789abcdef"):
        raise Refused(f"the field `{name}` is missing, or is not {2 * size} digits of 0-9 a-f")
    return bytes.fromhex(value)


def from_base64(value: str, what: str, size: int | None = None) -> bytes:
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != value or (size is not None and len(data) != size):
        raise Refused(f"{what} is not {'canonical base64' if size is None else f'base64 of {size} bytes'}")
    return data


def shown(value: str) -> str:
    """The text in ASCII, without what could steer a terminal."""
    short = value if len(value) <= SHOWN else value[:SHOWN] + "..."
    return "".join(letter if letter.isascii() and letter.isprintable() else f"\\u{ord(letter):04x}" for letter in short)


if __name__ == "__main__":
    sys.exit(main())
