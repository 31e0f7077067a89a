"""Verifies a stream: reads every event of it and checks each one."""

import time
from collections.abc import Callable, Sequence

import msgspec
from nats.aio.client import Client

from infra.archive.event_check import EventCheck, Fault
from infra.archive.format.unreadable_events import Accepted
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused
from streams.loss import missing_events
from streams.loss.missing_events import Gap, unaccepted
from streams.reader import Reader
from streams.topology import StreamMissing

_BATCH = 5_000

# Called with the number of events checked and the total.
Progress = Callable[[int, int], None]


class StreamVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a verification."""

    stream: str
    sound: bool
    # The stream's last sequence when the verification began.
    end: int
    events: int
    aggregates: int
    # Lost events that an operator has accepted.
    lost_accepted: int
    faults: int
    # The first hundred of them.
    named: list[Fault]
    seconds: float
    events_per_second: float


async def verify_stream(
    nc: Client, stream: str, progress: Progress, *, ids: set[int], known: int = 0, discarded: Accepted
) -> StreamVerdict:
    """Reads the stream up to its current end.

    `ids`: as for `EventCheck`.
    `known`: a sequence that the stream is known to have had, read before this call.
    `discarded`: which events operators have left out of read models, by stream and sequence.

    Raises:
        StreamMissing: there is no such stream.
        Unavailable: the connection was closed permanently.
    """
    begun = time.monotonic()
    try:
        info = await JetStream(nc).info(stream)
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            raise StreamMissing(stream) from refused
        raise
    end, decided = info.state.last_seq, missing_events.accepted(info.config)
    check = EventCheck(stream, ids)
    lost = 0
    progress(0, end)
    async with Reader(nc, stream, name="verify", headers=True, report_gaps=True) as reader:
        position = 0
        while position < end:
            batch = await reader.next(_BATCH)
            lost += _check_gaps(check, [gap for gap in batch.gaps if gap.first <= end], decided)
            for message in batch.messages:
                if message.sequence <= end:
                    check.check(
                        message.sequence,
                        message.subject,
                        message.payload,
                        message.headers or {},
                        discarded=discarded(stream, message.sequence),
                    )
            position = batch.position
            progress(min(position, end), end)
    if end < known:
        check.fault(end + 1, "", f"is missing, with all up to {known}: read models have applied them")
    seconds = time.monotonic() - begun
    return StreamVerdict(
        stream=stream,
        sound=not check.faults,
        end=end,
        events=check.events,
        aggregates=check.aggregates,
        lost_accepted=lost,
        faults=check.faults,
        named=check.named,
        seconds=round(seconds, 3),
        events_per_second=round(check.events / seconds, 1) if seconds else 0.0,
    )


def _check_gaps(check: EventCheck, gaps: Sequence[Gap], decided: list[missing_events.Accepted]) -> int:
    """Adds a fault for each gap that no operator has accepted; returns the number of accepted lost events."""
    left = unaccepted(gaps, {check.stream: decided})
    for gap in left:
        check.fault(gap.first, "", "is missing" if len(gap) == 1 else f"is missing, with all up to {gap.last}")
    lost = sum(map(len, gaps)) - sum(map(len, left))
    check.lost(lost)
    return lost
