"""Nodes of a tree of which only the roots of its tiles and the leaves of a few tiles are known."""

from collections.abc import Mapping, Sequence

from streams.merkle.frontier import TILE_LEVEL
from streams.merkle.hashing import node_hash


class Nodes:
    """Perfect subtrees by level and index: the subtree (level, index) has 2^level leaves, from index * 2^level on."""

    def __init__(self, tiles: Sequence[bytes], leaves: Mapping[int, Sequence[bytes]]) -> None:
        """`tiles`: the roots of all complete tiles, in order. `leaves`: the hashes of a tile's leaves, by its index."""
        self._tiles = tiles
        self._leaves = leaves
        self._cache: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The root of one perfect subtree.

        Raises:
            LookupError: it is not known.
        """
        known = self._cache.get((level, index))
        if known is None:
            known = self._cache[level, index] = self._find(level, index)
        return known

    def _find(self, level: int, index: int) -> bytes:
        if level == TILE_LEVEL and index < len(self._tiles):
            return self._tiles[index]
        if level == 0:
            tile = index >> TILE_LEVEL
            return self._leaves[tile][index - (tile << TILE_LEVEL)]
        return node_hash(self(level - 1, 2 * index), self(level - 1, 2 * index + 1))
