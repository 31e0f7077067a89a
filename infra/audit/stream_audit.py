"""Verifies a stream against what the notary has signed: reads every event and recomputes the trees."""

import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

import msgspec
from nats.aio.client import Client

from contracts.envelope import now
from contracts.events.loss import EventsLost
from contracts.events.notary import EndReason, TreeHeadSigned
from infra.audit.event_evidence import first_fault
from infra.audit.head_chain import HeadChain
from infra.audit.kept_heads import Kept, Start, start_of, with_saved
from infra.audit.notary_log import record_at
from infra.audit.saved_heads import SavedHead
from infra.audit.tree_check import TreeCheck
from infra.audit.verdicts import ClosedTree, FirstWrong, StreamAudit
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused
from streams.loss.missing_events import Accepted, Gap, accepted, unaccepted
from streams.merkle.frontier import Frontier
from streams.merkle.leaf import MESSAGE_ID, has_leaf, leaf_hasher
from streams.message import Message
from streams.reader import Reader
from streams.topology import StreamMissing

_BATCH = 5_000
# Misplaced events that are named; further ones are counted.
_NAMED = 100
# How long a new stream may be without a head.
_UNSIGNED_FOR = timedelta(minutes=5)

# Called with the last sequence that was read, and the stream's.
Progress = Callable[[int, int], None]


async def audit_stream(
    nc: Client,
    chain: HeadChain,
    progress: Progress,
    *,
    saved: Sequence[SavedHead] = (),
    continue_: bool = False,
    accepted_ends: Collection[str] = (),
    records_lost: int = 0,
) -> StreamAudit:
    """Reads the stream up to its current end.

    `saved`: heads that an auditor kept, whose signatures were verified. `continue_`: their events were verified before,
    and are not read again. `accepted_ends`: causes of ends of trees that may void saved heads. `records_lost`: the
    events of NOTARY whose loss an operator has accepted.

    Raises:
        StreamMissing: there is no such stream.
        Unavailable: the connection was closed permanently.
    """
    begun = time.monotonic()
    try:
        info = await JetStream(nc).info(chain.stream)
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            raise StreamMissing(chain.stream) from refused
        raise
    end = info.state.last_seq
    start = await start_of(nc, chain, saved) if continue_ else None
    if start is not None and start.checkpoint.last_sequence > end:
        # The stream was cut: what is left is read from the beginning.
        start = None
    kept = with_saved(chain, saved, accepted_ends=accepted_ends, records_lost=records_lost)
    reading = _Reading(chain, end, accepted(info.config), start, kept)
    await reading.read(nc, progress)
    return await reading.result(nc, begun)


class _Reading:
    """One pass over a stream."""

    def __init__(self, chain: HeadChain, end: int, decided: list[Accepted], start: Start | None, kept: Kept) -> None:
        self._chain = chain
        self._end = end
        self._decided = decided
        self._hash = leaf_hasher(chain.stream)
        self._faults = [*chain.faults, *kept.faults]
        self._accepted = kept.accepted
        self._heads_lost = kept.heads_lost
        self._lost = chain.lost()
        self._misplaced = 0
        self._gaps: list[Gap] = []
        self._wrong: FirstWrong | None = None
        # The first sequence that no head vouches for, where something is wrong.
        self._uncertain_from = 0
        self._events = 0
        self._unsigned = 0
        self._after = start.checkpoint.last_sequence if start else 0
        self._last_head = start.checkpoint if start else None
        self._trees = [tree for tree in kept.trees if start is None or tree.number >= start.tree]
        self._check = TreeCheck([], Frontier())
        self._begin(start)

    def _begin(self, start: Start | None = None) -> None:
        """Begins with the first of the trees that are left."""
        if self._trees:
            first = start.frontier.size if start else 0
            checkpoints = [checkpoint for checkpoint in self._trees[0].checkpoints if checkpoint.size > first]
            frontier = start.frontier if start else Frontier()
            self._check = TreeCheck(checkpoints, frontier, heads_lost=self._heads_lost)

    async def read(self, nc: Client, progress: Progress) -> None:
        """Reads until the end, or the first difference."""
        if not self._chain.trees:
            self._unsigned = self._end
            return
        position = self._after
        progress(position, self._end)
        stream = self._chain.stream
        async with Reader(nc, stream, after=position, name="audit", headers=True, report_gaps=True) as reader:
            while position < self._end and self._wrong is None and self._check.broken is None:
                batch = await reader.next(_BATCH)
                gaps = [
                    Gap(stream, gap.first, min(gap.last, self._end)) for gap in batch.gaps if gap.first <= self._end
                ]
                self._gaps += unaccepted(gaps, {stream: self._decided})
                self._add([message for message in batch.messages if message.sequence <= self._end])
                position = batch.position
                progress(min(position, self._end), self._end)
        while self._trees and self._wrong is None and self._check.broken is None:
            self._finish_tree()

    def _add(self, messages: list[Message]) -> None:
        while messages and self._wrong is None and self._check.broken is None:
            tree = self._trees[0] if self._trees else None
            if tree is None or tree.closed is None:
                self._feed(messages)
                return
            within = [message for message in messages if message.sequence <= tree.closed.last_sequence]
            self._feed(within)
            messages = messages[len(within) :]
            if messages and self._check.broken is None:
                self._finish_tree()

    def _feed(self, messages: list[Message]) -> None:
        stream, hashed, check = self._chain.stream, self._hash, self._check
        leaves = [message for message in messages if has_leaf(stream, message.subject)]
        if self._lost or len(leaves) < len(messages):
            self._check_losses(messages)
        if check.is_done:
            self._unsigned += len(leaves)
            return
        before = check.size
        check.add(
            [message.sequence for message in leaves],
            [
                hashed(message.sequence, message.subject, (message.headers or {}).get(MESSAGE_ID, ""), message.payload)
                for message in leaves
            ],
        )
        if check.broken is None:
            self._events += check.size - before
            self._unsigned += len(leaves) - (check.size - before)

    def _check_losses(self, messages: Sequence[Message]) -> None:
        """Adds a fault for each event at a sequence that was signed as lost, and for each unexplained placeholder."""
        for message in messages:
            if not has_leaf(self._chain.stream, message.subject):
                what = self._wrong_placeholder(message)
            elif any(first <= message.sequence <= last for first, last in self._lost):
                what = "is an event, and the end of a tree calls it lost"
            else:
                continue
            if what is not None:
                self._misplaced += 1
                if self._misplaced <= _NAMED:
                    self._faults.append(f"{self._chain.stream}:{message.sequence} {what}")

    def _wrong_placeholder(self, message: Message) -> str | None:
        try:
            data = message.open().data
        except (LookupError, msgspec.DecodeError):
            return "is a placeholder of a lost event that cannot be read"
        if not isinstance(data, EventsLost) or not data.first <= message.sequence <= data.last:
            return "is no placeholder of the event that was lost there, and no head covers it"
        # An import fills the gaps of the exported streams, whose accepted losses stay behind.
        is_imported = any(end.reason == EndReason.IMPORT for end, _ in self._chain.ends)
        if is_imported or any(loss.first <= message.sequence <= loss.last for loss in self._decided):
            return None
        return "is the placeholder of an event whose loss no one has accepted"

    def _finish_tree(self) -> None:
        """Completes the first tree, all of whose events were read; adds a fault if they end before its last head."""
        tree, check = self._trees.pop(0), self._check
        self._last_head = check.agreed_head or self._last_head
        self._faults += check.faults
        if (expected := check.expected) is not None:
            agreed = check.agreed.last_sequence if check.agreed else max(tree.after, self._after)
            covers = f"{expected} of tree {tree.number} covers events up to {expected.last_sequence:,}"
            if self._end < expected.last_sequence:
                # Those between could only be compared as a whole.
                what = f"missing or changed: the stream ends at {self._end:,}, and {covers}"
            else:
                what = f"{expected.size - check.size:,} events are missing: {covers}"
            wrong = FirstWrong(first=agreed + 1, last=expected.last_sequence, what=what)
            self._wrong = self._exact(wrong, agreed + 1)
            self._uncertain_from = agreed + 1
        else:
            self._begin()

    async def result(self, nc: Client, begun: float) -> StreamAudit:
        if (broken := self._check.broken) is not None:
            record = await record_at(nc, broken.notary_sequence) if broken.notary_sequence else None
            frontier = map(bytes.fromhex, record.frontier) if isinstance(record, TreeHeadSigned) else ()
            located = self._check.locate(list(frontier))
            tree, agreed = self._trees[0], self._check.agreed
            self._last_head = self._check.agreed_head or self._last_head
            low = (agreed.last_sequence if agreed else max(tree.after, self._after)) + 1
            if located.is_fork:
                earlier = agreed or "what was verified before"
                what = f"agrees with {earlier}, which {broken} contradicts: a fork of tree {tree.number}"
            else:
                what = f"altered, dropped, inserted or reordered: {broken} of tree {tree.number} has another root"
            self._wrong = self._exact(FirstWrong(first=located.first, last=located.last, what=what), low)
            self._faults += self._check.faults
            self._uncertain_from = low
        if self._wrong is not None:
            last = min(self._wrong.last, self._end)
            fault = await first_fault(nc, self._chain.stream, self._uncertain_from, last)
            self._wrong = msgspec.structs.replace(self._wrong, shown_by=None if fault is None else str(fault))
        for gap in self._gaps:
            self._faults.append(f"{gap} {'is' if len(gap) == 1 else 'are'} missing, and no one has accepted the loss")
        if self._misplaced > _NAMED:
            self._faults.append(f"{self._misplaced - _NAMED:,} more such events")
        if not self._chain.trees and self._end and not await _is_young(nc, self._chain.stream):
            self._faults.append(f"no head was ever signed: nothing about its events up to {self._end:,} can be proved")
        seconds = time.monotonic() - begun
        return StreamAudit(
            stream=self._chain.stream,
            sound=not self._faults and self._wrong is None,
            after=self._after,
            end=self._end,
            events=self._events,
            unsigned=self._unsigned,
            heads=self._chain.heads,
            head=await self._head(nc),
            first_wrong=self._wrong,
            faults=self._faults,
            accepted=self._accepted,
            closed=[ClosedTree.of(end, void) for end, void in self._chain.ends],
            seconds=round(seconds, 3),
            events_per_second=round(self._events / seconds, 1) if seconds else 0.0,
        )

    def _exact(self, wrong: FirstWrong, low: int) -> FirstWrong:
        """Names the missing sequence, if one from `low` on explains the difference."""
        gap = next((gap for gap in self._gaps if low <= gap.first <= wrong.last), None)
        if gap is None:
            return wrong
        return FirstWrong(first=gap.first, last=gap.first, what=f"missing{_up_to(gap)}; {wrong.what}")

    async def _head(self, nc: Client) -> SavedHead | None:
        """Returns the last head that agrees, as it is published."""
        if self._last_head is None:
            return None
        record = await record_at(nc, self._last_head.notary_sequence)
        return SavedHead.of(record) if isinstance(record, TreeHeadSigned) else None


async def _is_young(nc: Client, stream: str) -> bool:
    """Whether the first event, by its own account, is so recent that the notary may not have signed anything yet."""
    first = await JetStream(nc).next(stream, ">", 0)
    try:
        return first is not None and now() - first.envelope().at < _UNSIGNED_FOR
    except msgspec.DecodeError:
        return False


def _up_to(gap: Gap) -> str:
    return "" if len(gap) == 1 else f", with all up to {gap.last}"
