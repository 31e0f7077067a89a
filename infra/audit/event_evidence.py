"""Looks for events that show by themselves that a stream was changed: by their ids, versions, subjects and headers."""

from nats.aio.client import Client

from infra.archive.event_check import EventCheck, Fault
from streams.reader import Reader

_BATCH = 5_000
# Events before a range that are read, and events of the range itself.
_READ = 200_000


async def first_fault(nc: Client, stream: str, first: int, last: int) -> Fault | None:
    """The first event of a range that does not fit to those before it.

    Reads the beginning of the range, and as many events before it: versions of earlier ones count as unknown.

    Raises:
        Unavailable: the connection was closed permanently.
    """
    check = EventCheck(stream, set())
    position, last = max(0, first - 1 - _READ), min(last, first - 1 + _READ)
    check.lost(position)
    async with Reader(nc, stream, after=position, name="audit-evidence", headers=True, report_gaps=True) as reader:
        while position < last:
            batch = await reader.next(_BATCH)
            # Lost or not, the versions of their events are missing.
            check.lost(sum(map(len, batch.gaps)))
            for message in batch.messages:
                if message.sequence <= last:
                    check.check(message.sequence, message.subject, message.payload, message.headers or {})
            position = batch.position
            if (fault := next((fault for fault in check.named if fault.sequence >= first), None)) is not None:
                return fault
            check.named.clear()
    return None
