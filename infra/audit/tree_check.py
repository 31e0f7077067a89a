"""Recomputes a tree from the leaves of a stream and compares it with the heads that the notary signed."""

from collections.abc import Iterator, Sequence

import msgspec

from infra.audit.leaf_runs import LeafRuns
from streams.merkle.frontier import TILE_LEVEL, Frontier
from streams.merkle.hashing import root_of_subtrees


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A tree's size and root according to a signed record."""

    # Number of leaves.
    size: int
    # Of the last leaf.
    last_sequence: int
    root: bytes
    # RFC 3339, as signed.
    at: str
    # The roots of the tiles that were completed since the checkpoint before; None: it is no head in NOTARY.
    tiles: tuple[bytes, ...] | None = None
    # Of the record in the stream NOTARY; 0: it is from elsewhere.
    notary_sequence: int = 0

    def __str__(self) -> str:
        return f"the head of {self.size:,} events ({self.at})"


class TreeBreak(msgspec.Struct, frozen=True, kw_only=True):
    """The leaves differ from those that were signed: the first difference is in this range of sequences."""

    checkpoint: Checkpoint
    # Both included.
    first: int
    last: int
    # Whether the leaves agree with an earlier head, so that the two heads contradict each other.
    is_fork: bool = False


class TreeCheck:
    """One tree, from the leaf after `start` on. It ends at the first checkpoint that does not agree."""

    def __init__(self, checkpoints: Sequence[Checkpoint], start: Frontier, *, heads_lost: bool = False) -> None:
        """`checkpoints`: by size, all after `start`, which is trusted. `heads_lost`: others may be lost permanently."""
        self._heads_lost = heads_lost
        self._checkpoints = checkpoints
        self._next = 0
        self._frontier = start.copy()
        self._runs = LeafRuns(start.size)
        # As of the last checkpoint that agreed.
        self._agreed = start.copy()
        self._tiles: list[bytes] = []
        # The checkpoint that does not agree.
        self.broken: Checkpoint | None = None
        # What checkpoints say beside their roots, and is wrong.
        self.faults: list[str] = []

    @property
    def size(self) -> int:
        """Leaves seen, up to the last checkpoint."""
        return self._frontier.size

    @property
    def agreed(self) -> Checkpoint | None:
        """The last checkpoint that agreed with the leaves."""
        return self._checkpoints[self._next - 1] if self._next else None

    @property
    def agreed_head(self) -> Checkpoint | None:
        """The last head of the notary that agreed with the leaves."""
        agreed = self._checkpoints[: self._next]
        return next((checkpoint for checkpoint in reversed(agreed) if checkpoint.tiles is not None), None)

    @property
    def expected(self) -> Checkpoint | None:
        """The next checkpoint, whose leaves are not all seen yet."""
        return None if self._next == len(self._checkpoints) else self._checkpoints[self._next]

    @property
    def is_done(self) -> bool:
        return self.broken is not None or self.expected is None

    def add(self, sequences: Sequence[int], leaves: Sequence[bytes]) -> None:
        """Adds the next leaves; those after the last checkpoint are left out."""
        position = 0
        while not self.is_done and position < len(leaves):
            checkpoint = self._checkpoints[self._next]
            end = position + checkpoint.size - self._frontier.size
            self._tiles += self._frontier.extend(leaves[position:end])
            self._runs.extend(sequences[position:end])
            position = end
            while (due := self.expected) is not None and due.size == self._frontier.size and self.broken is None:
                self._compare(due)

    def _compare(self, checkpoint: Checkpoint) -> None:
        if self._frontier.root != checkpoint.root:
            self.broken = checkpoint
            return
        last_sequence = self._last_sequence(checkpoint)
        if last_sequence != checkpoint.last_sequence:
            self.faults.append(
                f"{checkpoint} names {checkpoint.last_sequence} as its last sequence: it is {last_sequence}"
            )
        if checkpoint.tiles is not None:
            # Those before were named by a head that is lost.
            tiles = self._tiles[-len(checkpoint.tiles) or len(self._tiles) :] if self._heads_lost else self._tiles
            if list(checkpoint.tiles) != tiles:
                self.faults.append(f"{checkpoint} names tiles that do not lead to its root: proofs by them would fail")
            self._tiles = []
            self._agreed = self._frontier.copy()
        self._next += 1

    def _last_sequence(self, checkpoint: Checkpoint) -> int:
        try:
            return self._runs.sequence_of(checkpoint.size - 1)
        except LookupError:
            # The checkpoint from which the check began, given twice.
            return checkpoint.last_sequence

    def locate(self, frontier: Sequence[bytes]) -> TreeBreak:
        """Locates the first difference from the checkpoint that does not agree.

        `frontier`: the roots of its perfect subtrees, unchecked; empty if they are not known.
        """
        checkpoint = self.broken
        assert checkpoint is not None
        agreed = self.agreed.size if self.agreed else self._agreed.size
        differing = self._differing_leaves(checkpoint, tuple(frontier))
        is_fork = differing.stop <= agreed
        leaves = range(agreed, checkpoint.size) if is_fork else range(max(agreed, differing.start), differing.stop)
        return TreeBreak(
            checkpoint=checkpoint,
            first=self._runs.sequence_of(leaves[0]),
            last=self._runs.sequence_of(leaves[-1]),
            is_fork=is_fork,
        )

    def _differing_leaves(self, checkpoint: Checkpoint, claimed: tuple[bytes, ...]) -> range:
        """The leaves with the first difference: as few as the signed root vouches for."""
        if len(claimed) != checkpoint.size.bit_count() or root_of_subtrees(claimed) != checkpoint.root:
            return range(checkpoint.size)
        compared = zip(_subtrees(checkpoint.size), self._frontier.subtrees, claimed, strict=True)
        leaves = next(leaves for leaves, own, other in compared if own != other)
        for tile in self._differing_tile(checkpoint, claimed):
            return range(max(leaves.start, tile << TILE_LEVEL), min(leaves.stop, (tile + 1) << TILE_LEVEL))
        return leaves

    def _differing_tile(self, checkpoint: Checkpoint, claimed: tuple[bytes, ...]) -> Iterator[int]:
        """Yields the first tile that differs, if the tiles of the head lead to its root."""
        if checkpoint.tiles is None or len(checkpoint.tiles) != len(self._tiles):
            return
        before = self._agreed.size >> TILE_LEVEL
        tiles = Frontier(before, self._agreed.subtrees[: before.bit_count()])
        tiles.extend(checkpoint.tiles)
        if tiles.subtrees != claimed[: tiles.size.bit_count()]:
            return
        for number, (own, other) in enumerate(zip(self._tiles, checkpoint.tiles, strict=True)):
            if own != other:
                yield before + number
                return


def _subtrees(size: int) -> Iterator[range]:
    """The leaves of each perfect subtree of a tree, largest first."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield range(start, start + (1 << level))
            start += 1 << level
