"""A stream's tree while it grows from its last signed record. Pure: it reads nothing and signs nothing."""

from collections.abc import Iterable
from datetime import datetime

from contracts.events.notary import EndReason, TreeClosed, TreeHeadSigned
from contracts.values.timestamps import rfc3339
from services.notary.endings import Ending
from streams.merkle.frontier import Frontier
from streams.merkle.leaf import MESSAGE_ID, has_leaf, leaf_hasher
from streams.merkle.signatures import Signed
from streams.message import Message


class Tree:
    """One tree: its number, its leaves so far, and what its next head has to say."""

    def __init__(self, stream: str, record: Signed | None) -> None:
        """`record`: the stream's last record that counts; None: the stream has none yet."""
        self.stream = stream
        self.number = 1
        self.settled = record.settled if record is not None else ()
        self.first_sequence = 0
        # The sequence of the last leaf; of a tree without leaves, the sequence after which it begins.
        self.last_sequence = record.last_sequence if record is not None else 0
        self.last_leaf = bytes.fromhex(record.last_leaf) if record is not None and record.last_leaf else None
        # The number of leaves that the last head covers.
        self.signed_size = 0
        self._frontier = Frontier()
        self._tiles: list[bytes] = []
        self._hash = leaf_hasher(stream)
        if isinstance(record, TreeClosed):
            self.number = record.next_tree
        elif record is not None:
            self.number = record.tree
            self.first_sequence = record.first_sequence
            self._frontier = Frontier(record.size, map(bytes.fromhex, record.frontier))
            self.signed_size = record.size
        # All events up to this sequence were read.
        self.position = self.last_sequence

    @property
    def size(self) -> int:
        return self._frontier.size

    @property
    def unsigned(self) -> int:
        """Number of leaves that no head covers yet."""
        return self.size - self.signed_size

    @property
    def unsigned_tiles(self) -> int:
        return len(self._tiles)

    def leaf_of(self, message: Message) -> bytes:
        message_id = (message.headers or {}).get(MESSAGE_ID, "")
        return self._hash(message.sequence, message.subject, message_id, message.payload)

    def extend(self, messages: Iterable[Message], position: int) -> None:
        """Appends the events after the position, in order. `position`: up to which all events are among them."""
        leaves: list[bytes] = []
        for message in messages:
            if has_leaf(self.stream, message.subject):
                if not self.first_sequence:
                    self.first_sequence = message.sequence
                self.last_sequence = message.sequence
                leaves.append(self.leaf_of(message))
        if leaves:
            self.last_leaf = leaves[-1]
            self._tiles += self._frontier.extend(leaves)
        self.position = position

    def head(self, at: datetime, key_id: str) -> TreeHeadSigned:
        """The head, still without its signature."""
        return TreeHeadSigned(
            stream=self.stream,
            tree=self.number,
            size=self.size,
            last_sequence=self.last_sequence,
            root=self._frontier.root.hex(),
            at=rfc3339(at),
            key_id=key_id,
            settled=self.settled,
            first_sequence=self.first_sequence,
            last_leaf=self.last_leaf.hex() if self.last_leaf else None,
            frontier=tuple(root.hex() for root in self._frontier.subtrees),
            tiles=tuple(root.hex() for root in self._tiles),
        )

    def end(self, ending: Ending, current: "Tree", at: datetime, key_id: str) -> TreeClosed:
        """The end of the tree, still without its signature. `current`: the tree that grew until now."""
        is_loss = ending.reason is EndReason.LOSS_ACCEPTED
        return TreeClosed(
            stream=self.stream,
            tree=self.number,
            size=self.size,
            last_sequence=self.last_sequence,
            root=self._frontier.root.hex(),
            at=rfc3339(at),
            key_id=key_id,
            settled=(*current.settled, ending.cause),
            last_leaf=self.last_leaf.hex() if self.last_leaf else None,
            reason=ending.reason,
            cause=ending.cause,
            # A clock's second: a number that was used before a restored copy of NOTARY does not come again.
            next_tree=max(current.number + 1, int(at.timestamp())),
            first_lost=ending.first if is_loss else 0,
            last_lost=ending.last if is_loss else 0,
        )

    def was_signed(self) -> None:
        """Records that a head of the tree as it is now was stored."""
        self.signed_size = self.size
        self.forget_tiles()

    def forget_tiles(self) -> None:
        """Drops the roots of tiles, which the end of a tree does not need."""
        self._tiles = []
