"""A set of 32-bit digests in four bytes each, for ids of which there are very many and that need not be told apart.

A Python set of as many whole numbers takes some seventy bytes each.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable

_BITS = 0xFFFF_FFFF
# Added ones are put in their place together: so many, or this part of all.
_FEWEST_LOOSE = 64
_PART_LOOSE = 16


def digest(*words: str) -> int:
    """Another one in each process; two lists of words have the same about once in four thousand million times."""
    return hash(words) & _BITS


class DigestSet:
    def __init__(self) -> None:
        self._sorted = array("I")
        self._unsorted: set[int] = set()

    def __len__(self) -> int:
        """How many were added; one added twice may count as two."""
        return len(self._sorted) + len(self._unsorted)

    def __contains__(self, digest: int) -> bool:
        if digest in self._unsorted:
            return True
        place = bisect_left(self._sorted, digest)
        return place < len(self._sorted) and self._sorted[place] == digest

    def add(self, digest: int) -> None:
        self._unsorted.add(digest)
        if len(self._unsorted) >= max(_FEWEST_LOOSE, len(self._sorted) // _PART_LOOSE):
            self.update(())

    def update(self, digests: Iterable[int]) -> None:
        """Adds many at once, for a price that grows with all that are there."""
        self._unsorted.update(digests)
        # Two runs, each in order: they are merged, not sorted.
        self._sorted = array("I", sorted([*self._sorted, *sorted(self._unsorted)]))
        self._unsorted.clear()
