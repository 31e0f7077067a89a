"""What an operator does with dead letters, without the command line, and what the read model shows then."""

from collections.abc import Callable

import msgspec
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import Projection, ReadModel, Runners
from projections.engine.dead_letters import queries, resolution
from projections.engine.dead_letters.outcomes import Retried
from projections.engine.dead_letters.queries import DeadLetterFilter, DeadLetterRow
from projections.engine.inspection.verify import Verdict, verify
from projections.engine.rebuild.rebuild import Rebuilt, rebuild
from projections.engine.storage.builds import Connection
from streams.log import Log
from tests.fix_postgres import Pool
from tests.integration.projections.sample_projection import Letters

FixHandler = Callable[[], None]


class Operator:
    """What the commands do, without the command line."""

    def __init__(self, nc: Client, conn: Connection, database_url: str) -> None:
        self.nc = nc
        self.conn = conn
        self.log = Log(nc)
        self._database_url = database_url

    async def dead_letters(
        self,
        *,
        state: str | None = None,
        event_type: str | None = None,
        aggregate_id: str | None = None,
    ) -> list[DeadLetterRow]:
        wanted = DeadLetterFilter(state=state, type=event_type, aggregate_id=aggregate_id)
        return [dead_letter async for dead_letter in queries.list_dead_letters(self.conn, wanted)]

    async def states(self, conversation: str) -> list[str]:
        return [dead_letter.state for dead_letter in await self.dead_letters(aggregate_id=conversation)]

    async def failed(self, projection: type[Projection] = Letters) -> DeadLetterRow:
        (dead_letter,) = await resolution.first_failures(self.conn, projection)
        return dead_letter

    async def retry(self, projection: type[Projection] = Letters) -> list[Retried]:
        heads = await resolution.first_failures(self.conn, projection)
        return [await resolution.retry(self.conn, self.log, projection, dead_letter) for dead_letter in heads]

    async def discard(self) -> DeadLetterRow:
        dead_letter = await self.failed()
        await resolution.discard(self.conn, self.log, dead_letter, "it was a test", "an operator")
        await resolution.retry(self.conn, self.log, Letters, dead_letter)
        return dead_letter

    async def verify(self, projection: type[Projection] = Letters) -> Verdict:
        return await verify(projection, self.nc, self._database_url)

    async def rebuild(self) -> Rebuilt:
        return await rebuild(Letters, self.nc, self._database_url)


async def applied(runners: Runners, last: int) -> None:
    await runners.waiting.wait(Letters, Position.at(MESSAGING, last), 60)


class Texts(msgspec.Struct):
    texts: list[str]


async def texts(pool: Pool, runners: Runners, conversation: str) -> list[str]:
    rows, _ = await ReadModel(Letters, pool, runners.waiting).select(
        Texts,
        "SELECT coalesce(array_agg(text ORDER BY sequence), '{}') AS texts FROM {texts} WHERE conversation_id = %(id)s",
        {"id": conversation},
    )
    return rows[0].texts
