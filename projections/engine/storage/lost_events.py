"""Lost events: sequences for which a build found no event in its streams, stored with the build.

Each is written in the transaction that moves the checkpoint past it, so an interruption does not miss it. A build with
a loss that no operator has accepted does not go live.
"""

from collections.abc import Sequence

from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from infra.operator_errors import OperatorError
from projections.engine.projection import Projection
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.pg_text import array
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.loss.missing_events import Gap, by_stream, missing, named, still_unaccepted
from streams.loss.watch import undecided

# Maximum gaps in the command that the error suggests.
_OFFERED = 3
_ADD = """
INSERT INTO projection_lost_events (projection, version, build, stream, first, last)
SELECT %s, %s, %s, stream, first, last
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS gap (stream, first, last)
ON CONFLICT DO NOTHING
"""


class EventsLost(OperatorError):
    """Streams lack events, and no operator has accepted the loss."""

    def __init__(self, projection: str, gaps: Sequence[Gap]) -> None:
        self.gaps = list(gaps)
        count = sum(map(len, gaps))
        accept = " ".join(f"--accept-loss {gap}" for gap in gaps[:_OFFERED])
        super().__init__(
            f"{projection}: {count:,} {'event is' if count == 1 else 'events are'} lost, {named(gaps)}. See the "
            f"runbook docs/runbooks/lost-events.md; `vestnik rebuild {projection} "
            f"{accept}{' …' if len(gaps) > _OFFERED else ''} --reason TEXT` continues without"
        )


async def add(conn: Connection, build: Build, gaps: Sequence[Gap]) -> None:
    """Stores the gaps of a batch."""
    if gaps:
        await conn.execute(
            _ADD,
            (
                *build.id,
                array([gap.stream for gap in gaps]),
                array([str(gap.first) for gap in gaps]),
                array([str(gap.last) for gap in gaps]),
            ),
        )


async def found(conn: Connection, build: Build) -> list[Gap]:
    """The gaps that the build has found so far."""
    cursor = await conn.execute(
        "SELECT stream, first, last FROM projection_lost_events WHERE (projection, version, build) = (%s, %s, %s)"
        " ORDER BY stream, first",
        build.id,
    )
    return [Gap(str(stream), int(str(first)), int(str(last))) for stream, first, last in await cursor.fetchall()]


async def unaccepted(nc: NATS, gaps: Sequence[Gap]) -> list[Gap]:
    """The gaps, or parts of them, that no operator has accepted so far.

    Raises:
        Unavailable: NATS does not answer.
    """
    if not gaps:
        return []
    try:
        return await still_unaccepted(JetStream(nc), gaps)
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"cannot read from NATS which losses are accepted: {failure}") from failure


async def known(conn: Connection, nc: NATS, projection: type[Projection]) -> list[Gap]:
    """The losses in the projection's streams that are known without reading them, and that no operator has accepted.

    That is: those that a build of any projection has found and no repair has undone, and those that the server counts.

    Raises:
        Unavailable: NATS does not answer.
    """
    jetstream = JetStream(nc)
    streams = list(projection.filters())
    cursor = await conn.execute(
        "SELECT DISTINCT stream, first, last FROM projection_lost_events WHERE stream = ANY(%s)", (streams,)
    )
    recorded = [Gap(str(stream), int(str(first)), int(str(last))) for stream, first, last in await cursor.fetchall()]
    gaps: list[Gap] = []
    try:
        for stream in streams:
            info = await jetstream.info(stream)
            if info.state.messages != info.state.last_seq:
                info = await jetstream.info(stream, deleted=True)
            gaps += undecided(stream, info, 0)
        for gap in await still_unaccepted(jetstream, recorded):
            gaps += (await missing(jetstream, gap.stream, gap.first, gap.last))[1]
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"cannot read from NATS which events are lost: {failure}") from failure
    return [gap for of_stream in by_stream(gaps).values() for gap in of_stream]


async def are_back(nc: NATS, gaps: Sequence[Gap]) -> bool:
    """Whether a stream has some of these events again, after a repair.

    Raises:
        Unavailable: NATS does not answer.
    """
    jetstream = JetStream(nc)
    try:
        for gap in gaps:
            message = await jetstream.next(gap.stream, ">", gap.first - 1)
            if message is not None and message.sequence <= gap.last:
                return True
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"cannot read from NATS whether events were restored: {failure}") from failure
    return False
