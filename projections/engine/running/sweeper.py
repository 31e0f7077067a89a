"""Removes rows of a live build some time after their end; see `storage/ended_rows`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.projection import Projection
from projections.engine.storage import ended_rows, tables
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.tables import Table

# Pause after a sweep that has left nothing.
_PAUSE_SECONDS = 30.0


class Sweeper:
    def __init__(self, conn: Connection, swept: Sequence[Table], streams: Sequence[str]) -> None:
        self._conn = conn
        self._tables = swept
        self._streams = streams
        self._due = time.monotonic()

    @classmethod
    async def open(cls, conn: Connection, projection: type[Projection], build: Build) -> Self:
        """`conn`: the build's writer's; its tables exist."""
        known = await tables.inspect(conn, projection, build) if projection.expires else {}
        return cls(conn, [table for table in known.values() if table.ends is not None], list(projection.filters()))

    async def sweep(self, pipeline: Pipeline, filling: BuildWriter) -> None:
        """Removes the next rows if it is time; called between two batches, when all events have been applied once.

        Only then the time at which an event was stored says when it happened: after an import all events have the
        import's time. An event that could not be applied may be applied at any later time, to a row that has ended
        since: nothing is removed as long as there is one.
        """
        if not self._tables or time.monotonic() < self._due or not pipeline.is_counted or any(filling.letters):
            return
        applied: list[float] = []
        for stream in self._streams:
            if not pipeline.left_of(stream):
                applied.append(pipeline.read_at(stream))
            elif (stored_ns := pipeline.oldest(stream)) is not None:
                applied.append(stored_ns / 1e9)
            else:
                # The stream has more events, and none of them has been read yet.
                return
        applied_until = datetime.fromtimestamp(min(applied), UTC)
        removed = [await ended_rows.remove(self._conn, table, applied_until) for table in self._tables]
        if max(removed) < ended_rows.AT_ONCE:
            self._due = time.monotonic() + _PAUSE_SECONDS
