"""Proves that a stored event is in a signed head: reads the heads, the event's tile and those at the ends."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

import msgspec
from nats.aio.client import Client

from contracts.events.notary import TreeHeadSigned
from contracts.values.timestamps import rfc3339
from infra.audit.head_chain import HeadChain, Tree
from infra.audit.notary_log import record_at
from infra.audit.saved_heads import SavedHead
from infra.audit.tree_check import Checkpoint
from infra.operator_errors import OperatorError
from streams.log import Log
from streams.merkle.frontier import TILE, TILE_LEVEL
from streams.merkle.leaf import MESSAGE_ID, has_leaf, leaf_hasher
from streams.merkle.nodes import Nodes
from streams.merkle.proofs import consistency_path, inclusion_path
from streams.merkle.verification import includes, is_consistent
from streams.message import Message
from streams.reader import Reader

_BATCH = 2_000


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What docs/examples/verify_proof.py verifies."""

    event_id: str
    stream: str
    # The number of the stream's tree, and the number of the event's leaf in it, from 0.
    tree: int
    index: int
    # The number of leaves of the head.
    size: int
    sequence: int
    subject: str
    # The header `Nats-Msg-Id`; empty if there is none.
    message_id: str
    # As stored, base64 in JSON.
    payload: bytes
    # Hex.
    leaf: str
    path: list[str]
    # When the head of that size was signed, for people; a verifier takes it from the auditor's heads.
    signed_at: str
    # Where the auditor's own head is older than the event: the head of this proof, the size of the auditor's, and the
    # path from one to the other.
    head: SavedHead | None = None
    continues: int | None = None
    consistency: list[str] | None = None


class NotProved(OperatorError):
    """There is no proof of the event."""


async def prove(
    nc: Client,
    chain: HeadChain,
    message: Message,
    saved: Sequence[SavedHead] | None = None,
    *,
    at: datetime | None = None,
) -> Proof:
    """Proves an event in the newest head that covers it, or the newest one at a time.

    `message`: the event, with its headers. `saved`: the heads of an auditor. If none of them covers the event, the
    proof leads from the auditor's newest head of that tree to a newer one.

    Raises:
        NotProved: no head covers the event, or the stream is not as it was signed.
        Unavailable: NATS does not answer.
    """
    stream, sequence = chain.stream, message.sequence
    tree = next((tree for tree in chain.trees if tree.covers(sequence)), None)
    if tree is None or not has_leaf(stream, message.subject):
        raise NotProved(f"no head covers {stream}:{sequence}")
    # Without the record that closed the tree, which is no head.
    covering = [
        head
        for head in tree.checkpoints
        if head.last_sequence >= sequence
        and head.tiles is not None
        and (at is None or datetime.fromisoformat(head.at) <= at)
    ]
    kept = [head for head in saved or () if head.tree == tree.number]
    own = {(head.size, bytes.fromhex(head.root)) for head in kept}
    shared = [head for head in covering if (head.size, head.root) in own]
    checkpoint = next(iter((shared or covering)[::-1]), None)
    if checkpoint is None and at is not None:
        raise NotProved(f"{stream}:{sequence} is after the last head that was signed by {rfc3339(at)}")
    if checkpoint is None:
        raise NotProved(f"{stream}:{sequence} is after the last head: the notary has not signed it yet")
    continued = None if saved is None or shared else _newest(stream, tree, kept)
    leaves = _Leaves(nc, stream, tree, await Log(nc).end_of(stream))
    index = await leaves.index_of(sequence)
    tiles = [tile for head in tree.checkpoints if head.size <= checkpoint.size for tile in head.tiles or ()]
    ends = {index, checkpoint.size - 1} | ({continued.size - 1} if continued else set())
    known = {tile: await leaves.of_tile(tile, checkpoint.size) for tile in {end >> TILE_LEVEL for end in ends}}
    own_leaf = leaf_hasher(stream)(
        sequence, message.subject, (message.headers or {}).get(MESSAGE_ID, ""), message.payload
    )
    nodes = Nodes(tiles, known)
    changed = NotProved(f"{stream} is not as it was signed: `vestnik audit verify --stream {stream}` says where")
    try:
        path = inclusion_path(index, checkpoint.size, nodes)
        consistency = consistency_path(continued.size, checkpoint.size, nodes) if continued else None
    except LookupError:
        raise changed from None
    if not includes(own_leaf, index, checkpoint.size, path, checkpoint.root):
        raise changed
    if continued is not None and consistency is not None:
        old_root = bytes.fromhex(continued.root)
        if not is_consistent(continued.size, old_root, checkpoint.size, checkpoint.root, consistency):
            raise changed
    head = await _published(nc, checkpoint)
    return Proof(
        event_id=message.event_id(),
        stream=stream,
        tree=tree.number,
        index=index,
        size=checkpoint.size,
        sequence=sequence,
        subject=message.subject,
        message_id=(message.headers or {}).get(MESSAGE_ID, ""),
        payload=message.payload,
        leaf=own_leaf.hex(),
        path=[node.hex() for node in path],
        signed_at=checkpoint.at,
        head=head if continued else None,
        continues=continued.size if continued else None,
        consistency=None if consistency is None else [node.hex() for node in consistency],
    )


def _newest(stream: str, tree: Tree, kept: Sequence[SavedHead]) -> SavedHead:
    """Returns the newest of the auditor's heads that the tree continues."""
    ours = {(head.size, head.root) for head in tree.checkpoints}
    known = [head for head in kept if (head.size, bytes.fromhex(head.root)) in ours]
    if not known:
        raise NotProved(f"the file has no head of tree {tree.number} of {stream} that NOTARY has, too")
    return max(known, key=lambda head: head.size)


async def _published(nc: Client, checkpoint: Checkpoint) -> SavedHead:
    record = await record_at(nc, checkpoint.notary_sequence)
    if not isinstance(record, TreeHeadSigned):
        raise NotProved(f"NOTARY:{checkpoint.notary_sequence} cannot be read")
    return SavedHead.of(record)


class _Leaves:
    """The leaves of a tree by their numbers, reading as few events as possible.

    Where the sizes of two heads differ by as much as their sequences do, all sequences between them have a leaf, and a
    leaf's number gives its sequence. Otherwise the events between the two heads are read and counted.
    """

    def __init__(self, nc: Client, stream: str, tree: Tree, last: int) -> None:
        """`last`: the stream's last sequence, which may be lower than that of a head."""
        self._nc = nc
        self._last = last
        self._stream = stream
        self._hash = leaf_hasher(stream)
        # Size and last sequence of each head.
        self._ends = [(0, tree.after), *((head.size, head.last_sequence) for head in tree.checkpoints)]

    async def index_of(self, sequence: int) -> int:
        """The number of the leaf of a sequence that a head covers."""
        number = bisect_left(self._ends, sequence, key=itemgetter(1))
        (size, last), next_end = self._ends[number - 1], self._ends[number]
        if _is_dense((size, last), next_end):
            return size + sequence - last - 1
        return size + len(await self._read(last, 0, next_end[0] - size, sequence - 1))

    async def of_tile(self, tile: int, end: int) -> list[bytes]:
        """The leaves of a tile, up to a number that a head covers."""
        first = tile << TILE_LEVEL
        number = bisect_right(self._ends, first, key=itemgetter(0))
        (size, last), next_end = self._ends[number - 1], self._ends[number]
        count, until = min(first + TILE, end) - first, self._ends[-1][1]
        if _is_dense((size, last), next_end):
            return await self._read(last + first - size, 0, count, until)
        return await self._read(last, first - size, count, until)

    async def _read(self, after: int, skip: int, count: int, until: int) -> list[bytes]:
        """Up to `count` leaves of the events after a sequence, without the first ones."""
        leaves: list[bytes] = []
        until = min(until, self._last)
        if after >= until:
            return leaves
        async with Reader(
            self._nc, self._stream, after=after, name="audit-proof", headers=True, buffer=2 * _BATCH
        ) as reader:
            position = after
            while position < until and len(leaves) < skip + count:
                batch = await reader.next(min(_BATCH, skip + count - len(leaves)))
                leaves += [
                    self._hash(event.sequence, event.subject, (event.headers or {}).get(MESSAGE_ID, ""), event.payload)
                    for event in batch.messages
                    if event.sequence <= until and has_leaf(self._stream, event.subject)
                ]
                position = batch.position
        return leaves[skip : skip + count]


def _is_dense(end: tuple[int, int], next_end: tuple[int, int]) -> bool:
    return next_end[0] - end[0] == next_end[1] - end[1]
