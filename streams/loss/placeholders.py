"""Placeholders for the events that a stream has lost at its end, so that no sequence is ever assigned to two events.

The server would assign the lost sequences to the next events. A position that a client has kept would then mean another
state, and a cached aggregate could satisfy the condition of an append with another event's sequence.
"""

import msgspec

from contracts.envelope import Provenance, encode, seal
from contracts.events.loss import EVENTS_LOST
from contracts.subjects import lost_in
from streams.log import Append, Log
from streams.loss.missing_events import Gap, by_stream
from streams.restore import ArchivedMessage

# More events than a stream can be ahead of its read models when a server loses its end.
MARGIN = 1_000
_BATCH = 1_000


class _LostRange(msgspec.Struct, frozen=True):
    first: int
    last: int


class Interfered(Exception):
    """Another writer has appended to the stream."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(f"another event was appended within {gap}: the stream's owner is running, stop it")


def kept(gap: Gap, version: int) -> ArchivedMessage:
    """The placeholder for one lost event, as a message to append when the stream is rebuilt elsewhere."""
    event = EVENTS_LOST[gap.stream](first=gap.first, last=gap.last)
    envelope = seal(event, aggregate_id="lost", version=version, provenance=Provenance())
    return ArchivedMessage(lost_in(gap.stream), encode(envelope), {"Nats-Msg-Id": envelope.id})


async def begun(log: Log, stream: str) -> Gap | None:
    """The loss that was filled last, wholly or up to some sequence."""
    message = await log.last(lost_in(stream))
    if message is None:
        return None
    position = msgspec.json.decode(message.envelope().data, type=_LostRange)
    return Gap(stream, position.first, position.last)


async def filled(log: Log, gap: Gap) -> list[Gap]:
    """The sequences of the gap that have placeholders; adjacent ones are merged."""
    messages = await log.read(lost_in(gap.stream), after=gap.first - 1)
    gaps = [Gap(gap.stream, message.sequence, message.sequence) for message in messages if message.sequence <= gap.last]
    return by_stream(gaps).get(gap.stream, [])


async def fill(log: Log, gap: Gap, by: str) -> None:
    """Appends placeholders up to the end of the gap; a call after an interruption continues.

    A gap that is already filled is left unchanged, whatever was appended after it.

    `log`: with the right to append to the stream.

    Raises:
        Interfered: the stream did not end within or directly before the gap, or another writer appends.
        Unavailable, DeadlineExceeded: the event store is unreachable; the next call continues.
    """
    subject, event = lost_in(gap.stream), EVENTS_LOST[gap.stream](first=gap.first, last=gap.last)
    last = await log.last(subject)
    expected, version = (last.sequence, last.envelope().version) if last else (0, 0)
    if expected >= gap.last:
        return
    end = await log.end_of(gap.stream)
    if end < gap.first - 1 or (end >= gap.first and end != expected):
        raise Interfered(gap)
    while end < gap.last:
        count = min(_BATCH, gap.last - end)
        provenance = Provenance(actor=f"operator:{by}")
        sequences = await log.append_together(
            [
                Append(
                    subject=subject,
                    expected=expected,
                    envelope=seal(
                        event,
                        aggregate_id="lost",
                        version=version + number,
                        provenance=provenance,
                    ),
                )
                for number in range(1, count + 1)
            ]
        )
        if sequences[0] != end + 1:
            raise Interfered(gap)
        end = expected = sequences[-1]
        version += count
