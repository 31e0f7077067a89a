"""Signatures of tree heads and of the ends of trees: Ed25519 over lines of text, each followed by a line feed.

A head: `vestnik tree head v1`, stream, tree, size, last sequence, root, time, key id.
The end of a tree: `vestnik tree end v1`, the same seven, then reason, cause, next tree, first and last lost sequence.

A second signature covers what the notary needs beyond that to continue: `vestnik tree state v1`, the first signature,
the causes of all ends as a JSON list, hash of the last leaf or nothing, first sequence or 0.
"""

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from contracts.events.notary import TreeClosed, TreeHeadSigned

Signed = TreeHeadSigned | TreeClosed


def signed_text(record: Signed) -> bytes:
    """The bytes that the signature covers."""
    lines: list[object] = [
        "vestnik tree head v1" if isinstance(record, TreeHeadSigned) else "vestnik tree end v1",
        record.stream,
        record.tree,
        record.size,
        record.last_sequence,
        record.root,
        record.at,
        record.key_id,
    ]
    if isinstance(record, TreeClosed):
        lines += [record.reason, record.cause, record.next_tree, record.first_lost, record.last_lost]
    return "".join(f"{line}\n" for line in lines).encode()


def signed(record: Signed, key: Ed25519PrivateKey) -> Signed:
    """The record with its signature. The key is the one that `key_id` names."""
    record = msgspec.structs.replace(record, signature=key.sign(signed_text(record)).hex())
    return msgspec.structs.replace(record, state_signature=key.sign(state_text(record)).hex())


def state_text(record: Signed) -> bytes:
    """The bytes that the second signature covers."""
    lines: list[object] = [
        "vestnik tree state v1",
        record.signature,
        msgspec.json.encode(record.settled).decode(),
        record.last_leaf or "",
        record.first_sequence if isinstance(record, TreeHeadSigned) else 0,
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def has_valid_signature(record: Signed, key: Ed25519PublicKey) -> bool:
    return _verifies(key, record.signature, signed_text(record))


def has_valid_state(record: Signed, key: Ed25519PublicKey) -> bool:
    """Whether both signatures hold: what the notary continues from is what it wrote."""
    return has_valid_signature(record, key) and _verifies(key, record.state_signature, state_text(record))


def _verifies(key: Ed25519PublicKey, signature: str, text: bytes) -> bool:
    try:
        key.verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True
