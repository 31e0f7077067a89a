"""Counts the events that a paused projection has not applied, with the rights that it is applied with."""

import asyncio

from nats.aio.client import Client as NATS

from contracts.positions import Position
from projections.engine.metrics import Backlog
from projections.engine.projection import Projection
from projections.engine.reading.stream_sources import Sources
from streams.personal_data.reading import PersonalData

_PATIENCE_SECONDS = 5.0


async def backlog_after(nc: NATS, projection: type[Projection], position: Position) -> dict[str, Backlog]:
    """The backlog after the position in each stream; one whose stream does not answer in time is left out.

    Raises:
        as `Sources.next`.
    """
    counted: dict[str, Backlog] = {}
    name = f"backlog-{projection.name}"
    # Needs no keys.
    stored = PersonalData.STORED
    sources = Sources(nc, projection.filters(), position, name=name, limit=1, personal_data=stored)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), sources:
            while len(counted) < len(projection.filters()):
                stream, batch = await sources.next()
                oldest = batch.messages[0].stored_ns if batch.messages else None
                counted.setdefault(stream, Backlog(len(batch.messages) + batch.pending, oldest))
    except TimeoutError:
        pass
    return counted
