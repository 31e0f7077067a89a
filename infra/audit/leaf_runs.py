"""Which sequence a leaf has: the n-th leaf of a tree is the n-th event, and sequences may have gaps."""

from bisect import bisect_right
from collections.abc import Sequence


class LeafRuns:
    """Sequences of leaves in order, kept as runs of consecutive ones: a gap costs two numbers, a leaf nothing."""

    def __init__(self, first_leaf: int = 0) -> None:
        """`first_leaf`: the number of the first leaf that is added."""
        self._leaves: list[int] = []
        self._sequences: list[int] = []
        self._next_leaf = first_leaf
        self._next_sequence = 0

    def extend(self, sequences: Sequence[int]) -> None:
        if not sequences:
            return
        is_dense = sequences[-1] - sequences[0] == len(sequences) - 1
        for sequence in sequences[:1] if is_dense else sequences:
            if sequence != self._next_sequence or not self._leaves:
                self._leaves.append(self._next_leaf)
                self._sequences.append(sequence)
            self._next_leaf += 1
            self._next_sequence = sequence + 1
        if is_dense:
            self._next_leaf += len(sequences) - 1
            self._next_sequence = sequences[-1] + 1

    def sequence_of(self, leaf: int) -> int:
        """
        Raises:
            LookupError: no such leaf was added.
        """
        run = bisect_right(self._leaves, leaf) - 1
        if run < 0 or leaf >= self._next_leaf:
            raise LookupError(leaf)
        return self._sequences[run] + leaf - self._leaves[run]
