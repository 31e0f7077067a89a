"""Where a projection begins: determined once as a sequence per stream, and recorded in the stream OPERATOR.

Every build of the version reads what follows. The record outlives the database, and is exported and imported as all
events are. A version whose class says the same as an earlier version's takes over its record. In empty streams a
projection begins with their first event: nothing is recorded before, since an import needs an empty system.
"""

import logging
from datetime import timedelta
from typing import NamedTuple

import msgspec
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance, now, seal
from contracts.events.projection import ProjectionBegun
from contracts.positions import Position
from contracts.subjects import PROJECTION_BEGINS_FILTER, projection_begin
from contracts.values.timestamps import bounded
from infra.operator_errors import OperatorError
from projections.engine.projection import FIRST, Projection
from projections.engine.reading.operator_events import operator_events
from projections.engine.reading.time_position import position_at
from streams.jetstream.api import JetStream
from streams.jetstream.subject_reader import reachable
from streams.log import Append, Log
from streams.topology import StreamMissing

log = logging.getLogger(__name__)


class BadBegin(OperatorError):
    """The projection cannot begin where its class says."""

    def __init__(self, projection: type[Projection], reason: str) -> None:
        super().__init__(f"projection {projection.name}: {reason}")


class NotBegun(OperatorError):
    """The version has not been started by its service yet."""

    def __init__(self, projection: type[Projection]) -> None:
        super().__init__(
            f"{projection.name} version {projection.version} has not begun: its service determines where, once it runs"
            " and a stream has an event"
        )


class _Record(NamedTuple):
    version: int
    begin: str
    after: Position


async def recorded(nc: NATS, projection: type[Projection]) -> Position | None:
    """The position after which the version begins; None: it is not recorded yet.

    Raises:
        BadBegin: it has begun elsewhere than its class says.
        Unavailable, StreamMissing: the records cannot be read.
    """
    if projection.begin == FIRST:
        return Position()
    record = next((record for record in await _records(nc, projection) if record.version == projection.version), None)
    if record is not None and record.begin != projection.begin:
        raise BadBegin(
            projection,
            f'version {record.version} has begun with begin = "{record.begin}", and its class says'
            f' "{projection.begin}"; raise its version',
        )
    return None if record is None else record.after


async def required(nc: NATS, projection: type[Projection]) -> Position:
    """As `recorded`, for what needs an answer.

    Raises:
        NotBegun: it is not recorded yet.
        others: as `recorded`.
    """
    after = await recorded(nc, projection)
    if after is None:
        raise NotBegun(projection)
    return after


async def determine(nc: NATS, projection: type[Projection]) -> Position | None:
    """The position after which a version begins that is started for the first time; None while its streams are empty.

    Raises:
        BadBegin: the time is in the future.
        Unavailable, StreamMissing: the streams cannot be read.
    """
    moment = projection.begin_moment()
    if moment is not None and moment > now():
        raise BadBegin(projection, f'begin = "{projection.begin}" is in the future; it waits until then')
    ends = await _ends(nc, projection)
    if not any(ends.values()):
        return None
    earlier = [
        record
        for record in await _records(nc, projection)
        if record.begin == projection.begin and record.version < projection.version
    ]
    known = max(earlier, key=lambda record: record.version).after.sequences if earlier else {}
    if ends.keys() <= known.keys():
        return Position({stream: known[stream] for stream in ends})
    if moment is not None:
        # What happened at that time is included.
        ends = dict((await position_at(nc, projection, bounded(moment) - timedelta(microseconds=1))).sequences)
    return Position({stream: known.get(stream, end) for stream, end in ends.items()})


async def is_empty(nc: NATS, projection: type[Projection]) -> bool:
    """Whether none of the streams has an event.

    Raises: as `determine`.
    """
    return not any((await _ends(nc, projection)).values())


async def record(nc: NATS, projection: type[Projection], after: Position) -> None:
    """Records where the version begins.

    Raises:
        streams.log.Conflict: another process has recorded it.
        Unavailable, OutOfSpace, DeadlineExceeded: it is not known to be recorded.
    """
    name, version = projection.name, projection.version
    begun = ProjectionBegun(
        projection=name, projection_version=version, begin=projection.begin, after=dict(after.sequences)
    )
    subject = projection_begin(projection.run_by(), name, version)
    envelope = seal(begun, aggregate_id=subject.split(".", 3)[3], version=1, provenance=Provenance())
    await Log(nc, group_commit=False).append(Append(subject=subject, expected=0, envelope=envelope))
    log.info("%s version %d begins after %s", name, version, dict(after.sequences))


async def _ends(nc: NATS, projection: type[Projection]) -> dict[str, int]:
    jetstream = JetStream(nc)
    ends: dict[str, int] = {}
    for stream in projection.filters():
        end = await reachable(jetstream.last_sequence(stream))
        if end is None:
            raise StreamMissing(stream)
        ends[stream] = end
    return ends


async def _records(nc: NATS, projection: type[Projection]) -> list[_Record]:
    records: list[_Record] = []
    for message in await operator_events(nc, PROJECTION_BEGINS_FILTER, name="begins of projections"):
        try:
            data = message.open().data
        except (LookupError, msgspec.DecodeError) as error:
            # Of a later release, which will read it.
            log.warning("%s %d cannot be read: %s", message.stream, message.sequence, error)
            continue
        if not isinstance(data, ProjectionBegun) or data.projection != projection.name:
            continue
        # The server lets each service append below its own name only: under another name the record is not its own.
        if message.subject == projection_begin(projection.run_by(), data.projection, data.projection_version):
            records.append(_Record(data.projection_version, data.begin, Position(data.after)))
    return records
