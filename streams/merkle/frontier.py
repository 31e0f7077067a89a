"""Frontier: the state of a tree that only grows, 32 bytes for each bit of its size that is set."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Self

from streams.merkle.hashing import HASH_BYTES, root_of_subtrees

TILE_LEVEL = 12
# Leaves of a tile, a perfect subtree whose root is stored with the head that completes it.
TILE = 1 << TILE_LEVEL


class Frontier:
    """The roots of the perfect subtrees of a tree, and its size."""

    def __init__(self, size: int = 0, subtrees: Iterable[bytes] = ()) -> None:
        """`subtrees`: their roots, largest first.

        Raises:
            ValueError: a tree of this size has other subtrees.
        """
        self._size = size
        self._subtrees = list(subtrees)
        if size < 0 or len(self._subtrees) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves does not have {len(self._subtrees)} perfect subtrees")
        if any(len(root) != HASH_BYTES for root in self._subtrees):
            raise ValueError("the root of a subtree does not have 32 bytes")

    @property
    def size(self) -> int:
        return self._size

    @property
    def subtrees(self) -> tuple[bytes, ...]:
        return tuple(self._subtrees)

    @property
    def root(self) -> bytes:
        return root_of_subtrees(self._subtrees)

    def copy(self) -> Self:
        return type(self)(self._size, self._subtrees)

    def extend(self, leaves: Iterable[bytes]) -> list[bytes]:
        """Appends leaves by their hashes; returns the roots of the tiles that they completed."""
        tiles: list[bytes] = []
        subtrees, size = self._subtrees, self._size
        for leaf in leaves:
            size += 1
            root, level = leaf, 0
            while not size >> level & 1:
                root = sha256(b"\x01" + subtrees.pop() + root).digest()
                level += 1
                if level == TILE_LEVEL:
                    tiles.append(root)
            subtrees.append(root)
        self._size = size
        return tiles
