"""The signed records of one stream in the order of the notary: which heads count, and which contradict each other.

A record counts if its signature is one by a published key. The heads of a tree only grow. The end of a tree is a record
of its own; heads that covered more than what is still stored are void by it, and so are later trees.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from operator import attrgetter

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.events.notary import EndReason, TreeClosed, TreeHeadSigned
from infra.audit.tree_check import Checkpoint
from streams.merkle.hashing import root_of_subtrees
from streams.merkle.signatures import has_valid_signature

FIRST_TREE = 1


class SignedRecord(msgspec.Struct, frozen=True):
    """A record as it is stored."""

    # In the stream NOTARY.
    sequence: int
    data: TreeHeadSigned | TreeClosed


class Tree(msgspec.Struct, kw_only=True):
    """One tree of a stream: the events after one sequence, up to its end if it was closed."""

    number: int
    # The sequence after which it begins.
    after: int
    # By size.
    checkpoints: list[Checkpoint] = []
    closed: TreeClosed | None = None

    def of_size(self, size: int) -> Checkpoint | None:
        index = bisect_left(self.checkpoints, size, key=attrgetter("size"))
        checkpoint = self.checkpoints[index] if index < len(self.checkpoints) else None
        return checkpoint if checkpoint is not None and checkpoint.size == size else None

    def covers(self, sequence: int) -> bool:
        return self.after < sequence and (self.closed is None or sequence <= self.closed.last_sequence)


class HeadChain:
    """The trees of one stream."""

    def __init__(self, stream: str, keys: Mapping[str, Ed25519PublicKey]) -> None:
        """`keys`: the published keys of the notary, by id."""
        self.stream = stream
        self._keys = keys
        # Those that count, by sequence.
        self.trees: list[Tree] = []
        # Every end of a tree, in the order of the notary, and how many signed events are void by it.
        self.ends: list[tuple[TreeClosed, int]] = []
        # Heads that an end has voided, by tree, size and root: the cause of that end.
        self.void: dict[tuple[int, int, bytes], str] = {}
        self.heads = 0
        # Heads and ends, whether they count or not.
        self.records = 0
        # What contradicts a signature or an earlier record.
        self.faults: list[str] = []

    def extend(self, records: Iterable[SignedRecord]) -> None:
        for record in records:
            self.records += 1
            fault = self._fault_of(record.data) or self._add(record)
            if fault is not None:
                self.faults.append(f"NOTARY:{record.sequence}: {described(record.data)} {fault}")

    def lost(self) -> list[tuple[int, int]]:
        """The sequences that the ends of trees call lost, and that no later import or restore may have brought back."""
        ranges: list[tuple[int, int]] = []
        for end, _ in self.ends:
            if end.reason == EndReason.LOSS_ACCEPTED:
                ranges.append((end.first_lost, end.last_lost))
            else:
                ranges = [(first, last) for first, last in ranges if last <= end.last_sequence]
        return ranges

    def tree(self, number: int) -> Tree | None:
        return next((tree for tree in self.trees if tree.number == number), None)

    def _fault_of(self, data: TreeHeadSigned | TreeClosed) -> str | None:
        if data.stream != self.stream:
            return f"is one of {data.stream}, on the subject of {self.stream}"
        key = self._keys.get(data.key_id)
        if key is None:
            return f"is signed with a key that is not published: {data.key_id}"
        if not has_valid_signature(data, key):
            return f"has a signature that is not one by the key {data.key_id}"
        return None

    def _add(self, record: SignedRecord) -> str | None:
        """Adds the record to the current tree; returns what is wrong with it."""
        data = record.data
        if not self.trees:
            self.trees.append(Tree(number=FIRST_TREE, after=0))
        tree = self.trees[-1]
        if isinstance(data, TreeClosed):
            return self._close(data, record.sequence)
        if data.tree != tree.number:
            return f"is of tree {data.tree}, while tree {tree.number} is open"
        self.heads += 1
        return self._append(tree, data, record.sequence)

    def _append(self, tree: Tree, head: TreeHeadSigned, sequence: int) -> str | None:
        frontier = tuple(map(bytes.fromhex, head.frontier))
        checkpoint = _checkpoint(head, sequence, tuple(map(bytes.fromhex, head.tiles)))
        before = tree.checkpoints[-1] if tree.checkpoints else None
        if before is not None:
            if head.size == before.size and checkpoint.root != before.root:
                return f"contradicts the head of the same size in NOTARY:{before.notary_sequence}: a fork"
            if head.size <= before.size or head.last_sequence <= before.last_sequence:
                return f"does not continue the one in NOTARY:{before.notary_sequence}, which has {before.size:,} events"
        if head.size < 1 or head.last_sequence < tree.after + head.size:
            return f"cannot have {head.size:,} events after {tree.after} up to {head.last_sequence}"
        tree.checkpoints.append(checkpoint)
        if len(frontier) != head.size.bit_count() or root_of_subtrees(frontier) != checkpoint.root:
            return "has subtrees that do not lead to its root"
        return None

    def _close(self, end: TreeClosed, sequence: int) -> str | None:
        """Ends the open tree, or an earlier one, whose end then goes back; what is after it is void."""
        tree = self.tree(end.tree)
        if tree is None:
            return "is one of no tree that counts"
        kept = [head for head in tree.checkpoints if head.last_sequence <= end.last_sequence]
        beyond = tree.checkpoints[len(kept) :]
        last = kept[-1] if kept else None
        if end.next_tree <= self.trees[-1].number:
            return f"begins tree {end.next_tree} after tree {self.trees[-1].number}"
        if end.last_sequence < tree.after + end.size or (last is not None and end.size < last.size):
            return "leaves out events of an earlier head that it does not void"
        later = self.trees[self.trees.index(tree) + 1 :]
        void = sum(other.checkpoints[-1].size for other in later if other.checkpoints)
        if tree.checkpoints:
            void += max(0, tree.checkpoints[-1].size - end.size)
        for number, heads in ((tree.number, beyond), *((other.number, other.checkpoints) for other in later)):
            self.void |= {(number, head.size, head.root): end.cause for head in heads}
        self.ends.append((end, void))
        del self.trees[len(self.trees) - len(later) :]
        tree.closed, tree.checkpoints = end, kept
        self.trees.append(Tree(number=end.next_tree, after=end.last_sequence))
        if last is not None and last.size == end.size:
            if bytes.fromhex(end.root) != last.root:
                return f"contradicts the head of the same size in NOTARY:{last.notary_sequence}: a fork"
        elif end.size:
            # Its tiles are not known.
            kept.append(_checkpoint(end, sequence, None))
        return None


def described(data: TreeHeadSigned | TreeClosed) -> str:
    what = "the head" if isinstance(data, TreeHeadSigned) else "the end"
    return f"{what} of tree {data.tree} of {data.stream} with {data.size:,} events ({data.at})"


def _checkpoint(data: TreeHeadSigned | TreeClosed, sequence: int, tiles: tuple[bytes, ...] | None) -> Checkpoint:
    return Checkpoint(
        size=data.size,
        last_sequence=data.last_sequence,
        root=bytes.fromhex(data.root),
        at=data.at,
        tiles=tiles,
        notary_sequence=sequence,
    )
