"""The first start of a version: determines where it begins, and keeps its builds to that."""

from nats.aio.client import Client as NATS

from contracts.positions import Position
from projections.engine.projection import FIRST, Projection
from projections.engine.reading import begin
from projections.engine.reading.begin import BadBegin
from projections.engine.storage import builds
from projections.engine.storage.builds import Build, Connection


async def settle_begin(conn: Connection, nc: NATS, projection: type[Projection], live: Build | None) -> Position | None:
    """The position after which the version begins, recorded if it is not yet; None while its streams are empty.

    `live`: a live build that has applied nothing is moved there.

    Raises:
        BadBegin: the version has begun elsewhere than its class says.
        streams.log.Conflict: another process has recorded it.
        Unavailable, StreamMissing: the records or the streams cannot be read.
    """
    after = await begin.recorded(nc, projection)
    if after is None:
        after = await _first_begin(conn, nc, projection, live)
        if after is None:
            return None
        await begin.record(nc, projection, after)
    if live is not None:
        await _move(conn, projection, live, after)
    return after


async def begin_with_first_event(conn: Connection, nc: NATS, projection: type[Projection], live: Build) -> bool:
    """Records that the version begins with the first event of its streams, once there is one; False until then.

    Raises: as `settle_begin`.
    """
    if await begin.is_empty(nc, projection):
        return False
    after = Position(dict.fromkeys(projection.filters(), 0))
    await begin.record(nc, projection, after)
    await _move(conn, projection, live, after)
    return True


async def _first_begin(conn: Connection, nc: NATS, projection: type[Projection], live: Build | None) -> Position | None:
    if live is None or not any((await builds.checkpoints(conn, live)).sequences.values()):
        return await begin.determine(nc, projection)
    # OPERATOR has lost the record, or the class did not say `now` when the version was started.
    after = await builds.begin_of(conn, live)
    if not after.sequences:
        raise BadBegin(
            projection,
            f'version {projection.version} has begun with the first event, and its class says "{projection.begin}";'
            " raise its version",
        )
    return after


async def _move(conn: Connection, projection: type[Projection], live: Build, after: Position) -> None:
    own = await builds.begin_of(conn, live)
    if own == after or (projection.begin == FIRST and not any(own.sequences.values())):
        return
    if projection.begin == FIRST or any((await builds.checkpoints(conn, live)).sequences.values()):
        raise BadBegin(
            projection,
            f"version {projection.version} begins {_described(after)}, and its live build {_described(own)}; raise its"
            f" version, or rebuild it: vestnik rebuild {projection.name}",
        )
    async with conn.transaction():
        await builds.set_begin(conn, live, after)


def _described(after: Position) -> str:
    if not any(after.sequences.values()):
        return "with the first event"
    return "after " + ", ".join(f"{stream} {sequence}" for stream, sequence in after.sequences.items())
