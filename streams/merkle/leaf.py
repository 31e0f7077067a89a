"""The leaf of a stored event: the bytes that a tree commits to.

Each field is preceded by its length in 4 bytes, big-endian, so that no two events have the same leaf:

    vestnik leaf v1 | stream | sequence (8 bytes, big-endian) | subject | Nats-Msg-Id, or empty | payload

Other headers only matter for the append and are not part of it. The order of the leaves is that of the sequences. A
sequence without an event, or with a placeholder for a lost event, has no leaf: the sequence in the next leaf shows it.
"""

from collections.abc import Callable
from hashlib import sha256

from contracts.subjects import lost_in

MESSAGE_ID = "Nats-Msg-Id"


def leaf_hasher(stream: str) -> Callable[[int, str, str, bytes], bytes]:
    """Returns the function from sequence, subject, message id and payload to the leaf's hash.

    The payload is as it is stored; the message id is the header `Nats-Msg-Id`, empty if there is none.
    """
    start = sha256(b"\x00" + _start(stream))

    def hashed(sequence: int, subject: str, message_id: str, payload: bytes) -> bytes:
        digest = start.copy()
        digest.update(_end(sequence, subject, message_id, payload))
        return digest.digest()

    return hashed


def has_leaf(stream: str, subject: str) -> bool:
    """False for the placeholder of a lost event."""
    return subject != lost_in(stream)


def _start(stream: str) -> bytes:
    return _field(b"vestnik leaf v1") + _field(stream.encode())


def _end(sequence: int, subject: str, message_id: str, payload: bytes) -> bytes:
    subject_bytes, id_bytes = subject.encode(), message_id.encode()
    return b"".join(
        (
            b"\x00\x00\x00\x08",
            sequence.to_bytes(8, "big"),
            len(subject_bytes).to_bytes(4, "big"),
            subject_bytes,
            len(id_bytes).to_bytes(4, "big"),
            id_bytes,
            len(payload).to_bytes(4, "big"),
            payload,
        )
    )


def _field(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content
