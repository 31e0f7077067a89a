"""Builds isolated in a schema of their own, not readable through the views: shadows, and states as of a past time.

The connection finds the engine's tables, and creates those of a build, in that schema alone. It still finds what is
installed elsewhere (functions, operator classes). The regular builds are not affected: the tables of an isolated build
have the number 0 in their names, which no regular build has.
"""

from collections.abc import Sequence

from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.positions import Position
from infra.operator_errors import OperatorError
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import SILENCE_SECONDS, Sources, end_of
from projections.engine.rebuild.progress import RateEstimator, Report
from projections.engine.storage import builds, tables
from projections.engine.storage.builds import BuildState, Connection
from projections.engine.storage.dead_letters import Discards

# Each connection has its own temporary schema, which is dropped with the connection.
TEMPORARY = "pg_temp"
_NUMBER = 0


class StreamTooShort(OperatorError):
    """A stream ends before the read model's checkpoint."""

    def __init__(self, stream: str, end: int, checkpoint: int) -> None:
        super().__init__(f"{stream} ends at {end}, before the read model's checkpoint {checkpoint}: events are gone")


class ProgressCounter:
    """Reports the progress of replaying the streams up to a position, `times` times over, in sequences."""

    def __init__(self, position: Position, times: int, report: Report) -> None:
        self._total = times * sum(position.sequences.values())
        self._passed = 0
        self._pace = RateEstimator()
        self._report = report

    def reached(self, sequence: int) -> None:
        """Reports the position in the stream that is being read."""
        self._report(self._pace.at(self._passed + sequence, self._total))

    def passed(self, stream_end: int) -> None:
        self._passed += stream_end


async def use_schema(conn: Connection, schema: str) -> None:
    """Puts the schema first in the connection's search path."""
    await conn.execute(
        "SELECT set_config('search_path', quote_ident(%s) || ', ' || current_setting('search_path'), false)", (schema,)
    )


async def create_isolated_build(
    conn: Connection, projection: type[Projection], discards: Discards, after: Position
) -> BuildWriter:
    """Creates an empty build that skips the discards and begins after the position.

    The schema must have the engine's tables.
    """
    async with conn.transaction():
        build = await builds.add_build(conn, projection.name, projection.version, BuildState.SHADOW, number=_NUMBER)
        await tables.create(conn, projection, build)
        await builds.add_checkpoints(conn, build, {stream: after.sequence(stream) for stream in projection.filters()})
    return await BuildWriter.open(conn, projection, build, discards=discards)


async def replay_into(
    filling: BuildWriter,
    projection: type[Projection],
    nc: NATS,
    position: Position,
    order: Sequence[str],
    counting: ProgressCounter,
) -> int:
    """Applies the streams one after the other, from the build's checkpoints to the position; returns the number of
    events.

    Raises:
        StreamTooShort: a stream ends before the position.
        Unavailable: NATS did not respond in time.
    """
    events, filters = 0, projection.filters()
    for stream in order:
        target, begin = position.sequence(stream), filling.position.sequence(stream)
        if target <= begin:
            continue
        end = await end_of(nc, stream)
        if end < target:
            raise StreamTooShort(stream, end, target)
        until = Position.at(stream, target)
        sources = Sources(
            nc,
            {stream: filters[stream]},
            Position.at(stream, begin),
            name=f"isolated-{projection.name}",
            until=until,
            reads_all=True,
        )
        async with Pipeline(sources, filling) as pipeline:
            while not pipeline.at_end:
                batch = await pipeline.step(SILENCE_SECONDS)
                if batch is None:
                    raise Unavailable("NATS does not answer.")
                events += batch.events
                counting.reached(filling.position.sequence(stream))
        counting.passed(target)
    return events
