"""The encoding and the hash of a leaf, as the documents describe them."""

from hashlib import sha256


def leaf_data(stream: str, sequence: int, subject: str, message_id: str, payload: bytes) -> bytes:
    fields = (
        b"vestnik leaf v1",
        stream.encode(),
        sequence.to_bytes(8, "big"),
        subject.encode(),
        message_id.encode(),
        payload,
    )
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()
