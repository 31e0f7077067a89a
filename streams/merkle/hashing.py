"""Hashes of nodes (RFC 9162, section 2.1.1): SHA-256, with a prefix that leaves (`leaf.py`) do not have."""

from collections.abc import Sequence
from hashlib import sha256

HASH_BYTES = 32
# The root of a tree without leaves.
EMPTY_ROOT = sha256(b"").digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of_subtrees(roots: Sequence[bytes]) -> bytes:
    """The root of the tree that consists of these perfect subtrees, largest first."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in roots[-2::-1]:
        root = node_hash(left, root)
    return root
