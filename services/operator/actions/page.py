"""Acts and looks for the page: the newest first and back into the past, straight from the stream.

A call is bounded in time: it scans backwards in ranges of doubling length, and returns where to continue.
"""

import asyncio
import time

import msgspec
from nats.aio.client import Client as NATS

from contracts.events.operator import OperatorActionEnded
from contracts.subjects import OPERATOR, operator_action
from contracts.values.cursors import decode_cursor, encode_cursor
from infra.history.event_history import SKEW, end_of
from infra.history.operator_audit import Query, Row, ended, row_of
from streams.log import Log
from streams.message import Message
from streams.reader import Reader

_SCAN_SECONDS = 2.5
_FIRST_RANGE, _LONGEST_RANGE = 256, 65_536
_BATCH = 1_000
_PATIENCE = 3.0
# Ends read at the same time.
_MOST_READS = 8


class ActionsFound(msgspec.Struct, frozen=True, kw_only=True):
    """One page of acts and looks."""

    # The newest first.
    items: list[Row]
    # Cursor of the next page; None on the last one.
    older: str | None
    # How many events could not be read.
    unreadable: int


class _Before(msgspec.Struct, frozen=True):
    sequence: int


class _Scan:
    """The progress of a scan backwards through the stream."""

    def __init__(self, query: Query) -> None:
        self._query = query
        # By sequence and the act's id.
        self.rows: list[tuple[int, str, Row]] = []
        self.ends: dict[str, OperatorActionEnded] = {}
        self.unreadable = 0

    def add(self, message: Message) -> None:
        try:
            event = message.open()
        except (LookupError, msgspec.DecodeError):
            self.unreadable += 1
            return
        if isinstance(event.data, OperatorActionEnded):
            self.ends[event.aggregate_id] = event.data
        elif (row := row_of(event)) is not None and self._query.wants(row):
            self.rows.append((event.sequence, event.aggregate_id, row))


async def newest(nc: NATS, query: Query, *, limit: int, cursor: str) -> ActionsFound:
    """Returns at most `limit` acts and looks before the cursor, newest first.

    Raises:
        Invalid: the cursor is not one of ours.
        Unavailable: NATS does not answer.
    """
    before = decode_cursor(cursor, _Before)
    log = Log(nc, patience=_PATIENCE)
    end = await end_of(nc, OPERATOR) or 0
    first = min(end, await log.end_before(OPERATOR, query.since - SKEW)) if query.since and end else 0
    scan, left = _Scan(query), min(end, before.sequence - 1) if before else end
    width, deadline = _FIRST_RANGE, time.monotonic() + _SCAN_SECONDS
    while left > first and len(scan.rows) < limit and time.monotonic() < deadline:
        start = max(first, left - width)
        for message in reversed(await _between(nc, start, left)):
            scan.add(message)
        left, width = start, min(width * 2, _LONGEST_RANGE)
    page, more = scan.rows[:limit], scan.rows[limit:]
    older = page[-1][0] if more else left + 1 if left > first else None
    slots = asyncio.Semaphore(_MOST_READS)

    async def with_end(action_id: str, row: Row) -> Row:
        if row.action is None:
            return row
        last = scan.ends.get(action_id)
        if last is None and before is not None:
            # It ended after the page began.
            async with slots:
                message = await log.last(operator_action(action_id))
            data = None if message is None else message.open().data
            last = data if isinstance(data, OperatorActionEnded) else None
        return row if last is None else ended(row, last)

    return ActionsFound(
        items=await asyncio.gather(*(with_end(action_id, row) for _, action_id, row in page)),
        older=None if older is None else encode_cursor(_Before(older)),
        unreadable=scan.unreadable,
    )


async def _between(nc: NATS, after: int, until: int) -> list[Message]:
    """The events above `after` and up to `until`, in order."""
    messages: list[Message] = []
    async with Reader(
        nc,
        OPERATOR,
        after=after,
        subject_filter=operator_action("*"),
        name="operators",
        buffer=2 * _BATCH,
        patience=_PATIENCE,
    ) as reader:
        async for batch in reader.batches(limit=_BATCH):
            messages += [message for message in batch.messages if message.sequence <= until]
            if batch.pending == 0 or batch.position >= until:
                return messages
    return messages
