"""The position that a projection must reach before a process serves reads of it."""

from nats.aio.client import Client as NATS

from contracts.positions import Position
from projections.engine.projection import Projection
from streams.jetstream.api import JetStream


class CatchUpGoal:
    """The ends of the streams when the process first checked whether a build had caught up."""

    def __init__(self, nc: NATS, projection: type[Projection]) -> None:
        self._nc = nc
        self._projection = projection
        # None until the first check. A pause replaces it by what is applied.
        self.position: Position | None = None

    async def determine(self) -> Position | None:
        """The goal; None while one of the streams does not exist."""
        if self.position is None:
            self.position = await self._ends()
        return self.position

    async def _ends(self) -> Position | None:
        ends: dict[str, int] = {}
        for stream in self._projection.filters():
            end = await JetStream(self._nc).last_sequence(stream)
            if end is None:
                return None
            ends[stream] = end
        return Position(ends)
