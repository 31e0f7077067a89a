"""Browses the streams: the newest events first and back into the past, or the events since a position.

A call is bounded in time and in the number of events it returns, however large the streams and however rare the
matching events: it scans backwards in ranges of doubling length and returns where to continue.
"""

import asyncio
import time
from collections import deque
from datetime import datetime

import msgspec
from nats.aio.client import Client as NATS

from contracts.positions import Position
from infra.history.event_history import SKEW, EventQuery, EventView, end_of, stretch_of, to_view
from infra.operator_errors import OperatorError
from services.operator.redaction import redact
from streams.message import Message
from streams.personal_data.reading import PersonalData
from streams.reader import Reader

_SCAN_SECONDS = 2.5
_FIRST_STRETCH, _LONGEST_STRETCH = 256, 65_536
# Most events read per stream after a position; beyond that only the newest.
MOST_BEHIND = 2_000
_BATCH = 1_000
_PATIENCE = 3.0


class EventsFound(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one call."""

    # Personal fields redacted. The newest first, each stream in its own order.
    items: list[EventView]
    # Position for older events; None if there are none.
    older: str | None
    # Position to follow from.
    newer: str
    # Number of events skipped, since more came than can be shown.
    skipped: int = 0
    # Number of messages that are not events of ours.
    unreadable: int = 0


class ScanRange(msgspec.Struct):
    """Result of scanning a range of one stream."""

    stream: str
    # The newest first.
    events: list[EventView]
    # Everything from this sequence on was scanned.
    begun_at: int
    unreadable: int = 0
    # Whether the whole range asked for was scanned.
    at_end: bool = False
    # Latest time of the events scanned; None if there were none.
    latest: datetime | None = None


async def latest_events(nc: NATS, query: EventQuery, *, limit: int, before: Position | None = None) -> EventsFound:
    """Returns at most `limit` matching events, the newest first, from `before` or the streams' ends backwards."""
    ends = {stream: await end_of(nc, stream) or 0 for stream in query.streams}
    stretches = await asyncio.gather(*(stretch_of(nc, query, stream, end) for stream, end in ends.items()))
    deadline = time.monotonic() + _SCAN_SECONDS
    ranges = await asyncio.gather(
        *(
            _backwards(
                nc, query, stream, after, min(last, before.sequence(stream)) if before else last, limit, deadline
            )
            for stream, (after, last) in zip(ends, stretches, strict=True)
        )
    )
    counts = _latest(ranges, limit)
    oldest: dict[str, int] = {}
    for stretch in ranges:
        left = stretch.events[counts[stretch.stream] :]
        # Continue with the first event not taken, or, if all were taken, below everything scanned.
        oldest[stretch.stream] = left[0].sequence if left else 0 if stretch.at_end else stretch.begun_at - 1
    items = [event for stretch in ranges for event in stretch.events[: counts[stretch.stream]]]
    return EventsFound(
        items=sorted(items, key=lambda event: event.at, reverse=True),
        older=Position(oldest).encode() if any(oldest.values()) else None,
        newer=Position(ends).encode(),
        unreadable=sum(stretch.unreadable for stretch in ranges),
    )


async def events_after(nc: NATS, query: EventQuery, *, limit: int, after: Position) -> EventsFound:
    """Returns the matching events after a position, the newest first; if there are too many, only the newest."""
    ends = {stream: await end_of(nc, stream) or 0 for stream in query.streams}
    starts = {stream: min(after.sequence(stream), end) for stream, end in ends.items()}
    skipped = 0
    for stream, end in ends.items():
        if (behind := end - starts[stream] - MOST_BEHIND) > 0:
            skipped += behind
            starts[stream] += behind
    moved = [stream for stream, end in ends.items() if end > starts[stream]]
    ranges = await asyncio.gather(*(_between(nc, query, stream, starts[stream], ends[stream]) for stream in moved))
    events = sorted((event for stretch in ranges for event in stretch.events), key=lambda event: event.at, reverse=True)
    return EventsFound(
        items=events[:limit],
        older=None,
        newer=Position(ends).encode(),
        skipped=skipped + len(events[limit:]),
        unreadable=sum(stretch.unreadable for stretch in ranges),
    )


def _latest(ranges: list[ScanRange], limit: int) -> dict[str, int]:
    """Number of events of each stream among the `limit` newest of all."""
    waiting = {stretch.stream: deque(stretch.events) for stretch in ranges}
    counts = dict.fromkeys(waiting, 0)
    for _ in range(limit):
        heads = [(events[0].at, stream) for stream, events in waiting.items() if events]
        if not heads:
            break
        _, stream = max(heads)
        waiting[stream].popleft()
        counts[stream] += 1
    return counts


async def _backwards(
    nc: NATS, query: EventQuery, stream: str, after: int, until: int, limit: int, deadline: float
) -> ScanRange:
    """Scans backwards from `until` to above `after`, until `limit` events are found or the deadline passes."""
    scan, width = ScanRange(stream, [], until + 1), _FIRST_STRETCH
    while scan.begun_at > after + 1 and len(scan.events) < limit and time.monotonic() < deadline:
        last = scan.begun_at - 1
        start = max(after, last - width)
        part = await _between(nc, query, stream, start, last)
        scan.events += part.events
        scan.unreadable += part.unreadable
        scan.begun_at = start + 1
        if query.since and part.latest and part.latest < query.since - 2 * SKEW:
            # An imported stream: its events were stored long after they happened.
            scan.begun_at = after + 1
        width = min(width * 2, _LONGEST_STRETCH)
    scan.at_end = scan.begun_at <= after + 1
    return scan


async def _between(nc: NATS, query: EventQuery, stream: str, after: int, until: int) -> ScanRange:
    """Returns the matching events above `after` and up to `until`, the newest first."""
    scan = ScanRange(stream, [], after + 1)
    async with Reader(
        nc,
        stream,
        after=after,
        subject_filter=query.subject_filter(stream),
        name="browse",
        buffer=2 * _BATCH,
        patience=_PATIENCE,
        # It is redacted.
        personal_data=PersonalData.STORED,
    ) as reader:
        async for batch in reader.batches(limit=_BATCH):
            for message in batch.messages:
                if message.sequence <= until:
                    _take(scan, query, message)
            if batch.pending == 0 or batch.position >= until:
                break
    scan.events.reverse()
    return scan


def _take(scan: ScanRange, query: EventQuery, message: Message) -> None:
    try:
        envelope = message.envelope()
        scan.latest = max(scan.latest or envelope.at, envelope.at)
        if query.wants(envelope):
            scan.events.append(redact(to_view(message, envelope, raw=False)))
    except (msgspec.DecodeError, OperatorError):
        scan.unreadable += 1
