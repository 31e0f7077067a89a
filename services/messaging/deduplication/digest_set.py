"""A set of 32-bit digests in four bytes each, for very many ids whose rare collisions are acceptable.

A Python set of integers takes some seventy bytes each.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable

_BITS = 0xFFFF_FFFF
# Added digests are merged in batches of 64, or of 1/16 of the sorted ones if that is more.
_FEWEST_LOOSE = 64
_PART_LOOSE = 16


def digest(*words: str) -> int:
    """Returns a digest that differs between processes; two lists of words collide about once in four billion times."""
    return hash(words) & _BITS


class DigestSet:
    def __init__(self) -> None:
        self._sorted = array("I")
        self._unsorted: set[int] = set()

    def __len__(self) -> int:
        """Number of digests added; one added twice may count twice."""
        return len(self._sorted) + len(self._unsorted)

    def __contains__(self, digest: int) -> bool:
        if digest in self._unsorted:
            return True
        index = bisect_left(self._sorted, digest)
        return index < len(self._sorted) and self._sorted[index] == digest

    def add(self, digest: int) -> None:
        self._unsorted.add(digest)
        if len(self._unsorted) >= max(_FEWEST_LOOSE, len(self._sorted) // _PART_LOOSE):
            self.update(())

    def update(self, digests: Iterable[int]) -> None:
        """Adds many digests in one merge, which costs time in proportion to the whole set."""
        self._unsorted.update(digests)
        # Two sorted runs, which `sorted` merges.
        self._sorted = array("I", sorted([*self._sorted, *sorted(self._unsorted)]))
        self._unsorted.clear()
