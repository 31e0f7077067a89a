"""Follows one stream and signs the heads of its trees.

It begins at the stream's last record in NOTARY, after an error too. Before each head it checks that the event which the
previous head covers last is still stored as it was. While it runs, it signs nothing after a record that is older than
the newest it has seen; a restarted notary knows only what NOTARY has.
"""

import asyncio
import logging
import math
import time
from datetime import datetime

import msgspec
from nats.aio.client import Client

from contracts.envelope import now
from contracts.errors import VestnikError, error_text
from contracts.events.notary import EndReason, TreeClosed
from contracts.subjects import NOTARY
from services.notary.endings import Ending, next_ending
from services.notary.metrics import BROKEN, ENDS, HEADS, UNSIGNED_EVENTS, UNSIGNED_SECONDS
from services.notary.tree import Tree
from services.notary.tree_log import LastRecord, RecordInvalid, TreeLog
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Conflict
from streams.loss.missing_events import Accepted, Gap, accepted, named, unaccepted
from streams.merkle.leaf import has_leaf
from streams.merkle.signatures import Signed
from streams.personal_data.reading import PersonalData
from streams.reader import Reader, StreamWentBack
from streams.topology import StreamMissing

log = logging.getLogger(__name__)
_BATCH = 5_000
# A head with this many tiles has 70 kB.
_MOST_TILES = 1_000
# Seconds before the next attempt after an error.
_PAUSE = 1.0
_PAUSE_BROKEN = 5.0
# A broken tree is reported when it is found this often in a row: a deposed leader may lack events for some seconds.
_REPORTED_AFTER = 3


class TreeBroken(Exception):
    """The stream is not what was signed, or lacks events whose loss no operator has accepted."""


class StreamNotary:
    def __init__(self, nc: Client, stream: str, trees: TreeLog, *, interval: float) -> None:
        """`interval`: seconds between two heads; none is signed without new events."""
        self._nc = nc
        self._jetstream = JetStream(nc)
        self._stream = stream
        self._trees = trees
        self._interval = interval
        # The newest record that it has read or signed.
        self._newest: Signed | None = None
        # The losses that operators have accepted, as last read.
        self._accepted: list[Accepted] = []
        self._breaks = 0
        # When heads last covered the whole stream, by the monotonic clock.
        self._complete_at = time.monotonic()
        BROKEN.labels(stream).set(0)
        UNSIGNED_EVENTS.labels(stream).set(0)
        UNSIGNED_SECONDS.labels(stream).set_function(lambda: time.monotonic() - self._complete_at)

    async def run(self) -> None:
        """Signs heads until it is cancelled, whatever NATS and the stream do."""
        while True:
            pause = 0.0
            try:
                await self._follow()
                self._report_signing()
            except (TreeBroken, RecordInvalid, StreamWentBack) as broken:
                self._report(broken)
                pause = _PAUSE_BROKEN
            except Conflict:
                # Another notary was first; its record is read now.
                pass
            except (ValueError, LookupError, msgspec.MsgspecError) as unreadable:
                # A record or a setting that the program cannot read; the other streams go on.
                self._report(unreadable)
                pause = _PAUSE_BROKEN
            except (VestnikError, Refused, RequestFailed, StreamMissing, PermissionError) as failure:
                log.warning("%s is not signed for now: %s", self._stream, error_text(failure))
                pause = _PAUSE
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        """Signs heads; returns when a tree has ended.

        Reads what came in one go, and nothing in between: each event that is followed alone costs several times as
        much.
        """
        last = await self._trees.last(self._stream)
        tree = Tree(self._stream, last.record)
        await self._assert_newest(last.record, tree)
        await asyncio.sleep(self._until_due(last.record))
        while True:
            end, ending = await self._read_settings(tree)
            if ending is not None and ending.ends_at(tree.position):
                await self._end(last, tree, ending)
                return
            if end < tree.position:
                raise TreeBroken(f"{self._stream} ends at {end}, but was signed up to {tree.last_sequence}")
            await self._assert_unchanged(tree)
            UNSIGNED_EVENTS.labels(self._stream).set(end - tree.position)
            limit = min(end, ending.first - 1) if ending is not None and ending.first else end
            gaps = await self._read(tree, limit, within=self._interval)
            if tree.unsigned:
                last = await self._trees.append(tree.head(now(), self._trees.key_id), last)
                self._newest = last.record
                tree.was_signed()
                HEADS.labels(self._stream).inc()
            if gaps:
                # The stream may go on behind the gap; none of it is signed until the loss is accepted.
                raise TreeBroken(f"{self._stream} lacks {named(gaps)}")
            self._report_signing()
            if tree.position >= end:
                self._complete_at = time.monotonic()
                UNSIGNED_EVENTS.labels(self._stream).set(0)
                await asyncio.sleep(self._interval)

    async def _read(self, tree: Tree, limit: int, *, within: float = math.inf) -> list[Gap]:
        """Appends the events up to the limit to the tree. Stops before a gap that is no accepted loss, and returns it.

        `within`: seconds after which it stops earlier, for a head in between.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        if tree.position >= limit:
            return []
        async with self._reader(tree.position) as reader:
            while tree.position < limit and loop.time() < deadline and tree.unsigned_tiles < _MOST_TILES:
                batch = await reader.next(_BATCH)
                gaps = [gap for gap in unaccepted(batch.gaps, {self._stream: self._accepted}) if gap.first <= limit]
                last = min(gaps[0].first - 1 if gaps else batch.position, limit)
                tree.extend((message for message in batch.messages if message.sequence <= last), last)
                if gaps:
                    return gaps
        return []

    async def _end(self, last: LastRecord, current: Tree, ending: Ending) -> None:
        """Closes the tree at the last event before the loss, or at the last head that the stream still has."""
        if ending.reason is EndReason.LOSS_ACCEPTED:
            await self._assert_lost(ending)
            tree = await self._tree_until(last, ending.first - 1)
        else:
            tree = await self._tree_still_stored(last)
        self._newest = (await self._trees.append(tree.end(ending, current, now(), self._trees.key_id), last)).record
        ENDS.labels(self._stream, ending.reason.value).inc()
        log.warning("tree %d of %s ends at event %d (%s)", tree.number, self._stream, tree.last_sequence, ending.cause)

    async def _assert_newest(self, record: Signed | None, tree: Tree) -> None:
        """
        Raises:
            TreeBroken: NOTARY lost a record that this process has seen, and no restored copy or import explains it.
        """
        newest = self._newest
        if newest is not None and _is_behind(record, newest):
            _, ending = await self._read_settings(tree)
            if ending is None or ending.reason is EndReason.LOSS_ACCEPTED:
                raise TreeBroken(f"{NOTARY} no longer has the record of {self._stream} with {newest.size} events")
        self._newest = record

    async def _assert_lost(self, loss: Ending) -> None:
        """
        Raises:
            TreeBroken: the stream has an event, and no placeholder, at a sequence that is accepted as lost.
        """
        position = loss.first - 1
        while position < loss.last:
            message = await self._jetstream.next(self._stream, ">", position)
            if message is None or message.sequence > loss.last:
                return
            if has_leaf(self._stream, message.subject):
                raise TreeBroken(
                    f"{self._stream}:{loss.first}-{loss.last} is accepted as lost, but has event {message.sequence}"
                )
            position = message.sequence

    async def _tree_until(self, last: LastRecord, limit: int) -> Tree:
        """The tree of the events up to the limit, from the last record before it.

        Raises:
            TreeBroken: the stream lacks some of these events.
        """
        base = last.record
        if base is not None and base.last_sequence > limit:
            base = None
            async for record in self._trees.records(self._stream, last.sequence):
                if record.last_sequence <= limit:
                    base = record
        tree = Tree(self._stream, base)
        await self._assert_unchanged(tree)
        end = (await self._jetstream.info(self._stream)).state.last_seq
        if end < limit:
            raise TreeBroken(f"{self._stream} ends at {end}, before the accepted loss from {limit + 1} on")
        while tree.position < limit:
            if gaps := await self._read(tree, limit):
                raise TreeBroken(f"{self._stream} lacks {named(gaps)}")
            tree.forget_tiles()
        return tree

    async def _tree_still_stored(self, last: LastRecord) -> Tree:
        """The tree of the latest record whose last event the stream still has as it was signed."""
        tree = Tree(self._stream, last.record)
        if await self._is_unchanged(tree):
            return tree
        valid: list[Signed] = []
        async for record in self._trees.records(self._stream, last.sequence):
            while valid and valid[-1].last_sequence > record.last_sequence:
                valid.pop()
            valid.append(record)
        low, high = 0, len(valid)
        while low < high:
            middle = (low + high) // 2
            if await self._is_unchanged(Tree(self._stream, valid[middle])):
                low = middle + 1
            else:
                high = middle
        return Tree(self._stream, valid[low - 1] if low else None)

    async def _read_settings(self, tree: Tree) -> tuple[int, Ending | None]:
        """The end of the stream, and what ends its tree."""
        stream, notary = await self._jetstream.info(self._stream), await self._jetstream.info(NOTARY)
        self._accepted = accepted(stream.config)
        return stream.state.last_seq, next_ending(stream.config, notary.config, tree.settled)

    async def _assert_unchanged(self, tree: Tree) -> None:
        """
        Raises:
            TreeBroken: the stream does not have the tree's last event as it was signed.
        """
        if not await self._is_unchanged(tree):
            raise TreeBroken(f"{self._stream} no longer has event {tree.last_sequence} as it was signed")

    async def _is_unchanged(self, tree: Tree) -> bool:
        if tree.last_leaf is None:
            return True
        message = await self._jetstream.at(self._stream, tree.last_sequence)
        return message is not None and tree.leaf_of(message) == tree.last_leaf

    def _reader(self, after: int) -> Reader:
        return Reader(
            self._nc,
            self._stream,
            after=after,
            name=f"notary-{self._stream}",
            headers=True,
            patience=math.inf,
            outlasts_refusals=True,
            report_gaps=True,
            # What is signed is what is stored, and the notary has no keys.
            personal_data=PersonalData.STORED,
        )

    def _until_due(self, record: Signed | None) -> float:
        """Seconds until the next head may be signed: an interval after the last one."""
        if record is None:
            return 0.0
        since = (now() - datetime.fromisoformat(record.at)).total_seconds()
        return min(max(self._interval - since, 0.0), self._interval)

    def _report(self, broken: Exception) -> None:
        self._breaks += 1
        if self._breaks == _REPORTED_AFTER:
            BROKEN.labels(self._stream).set(1)
            log.critical(
                "no head of %s is signed any more: %s. See the runbook docs/runbooks/broken-tree.md",
                self._stream,
                broken,
            )

    def _report_signing(self) -> None:
        if self._breaks >= _REPORTED_AFTER:
            log.warning("heads of %s are signed again", self._stream)
        self._breaks = 0
        BROKEN.labels(self._stream).set(0)


def _is_behind(record: Signed | None, newest: Signed) -> bool:
    """Whether the stream's last record is older than one that was seen, or another in its place."""
    if record is None:
        return True
    if _order(record) == _order(newest):
        return record.root != newest.root
    return _order(record) < _order(newest)


def _order(record: Signed) -> tuple[int, int]:
    """The order of a stream's records: greater for each later one."""
    return (record.next_tree, 0) if isinstance(record, TreeClosed) else (record.tree, record.size)
