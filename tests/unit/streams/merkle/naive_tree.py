"""The definitions of RFC 9162 (section 2.1), word for word and slow."""

from hashlib import sha256


def mth(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash of a list of leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), mth(leaves[k:])]
    return [*path(index - k, leaves[k:]), mth(leaves[:k])]


def proof(old: int, leaves: list[bytes]) -> list[bytes]:
    return _subproof(old, leaves, True)


def _subproof(old: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if complete else [mth(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*_subproof(old, leaves[:k], complete), mth(leaves[k:])]
    return [*_subproof(old - k, leaves[k:], False), mth(leaves[:k])]


def split(count: int) -> int:
    """The largest power of two below the count."""
    k = 1
    while 2 * k < count:
        k *= 2
    return k
