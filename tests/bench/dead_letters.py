"""What one event that cannot be applied costs among many: all others go on at their rate, its aggregate waits in order.

The same events are applied twice, by a projection that takes them all and by one whose table refuses one event in the
middle. Then that is mended and tried again, and the read model is compared with its stream.
"""

import argparse
import time
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles
from projections.engine.dead_letters import resolution
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.rebuild import rebuild
from projections.engine.storage.connections import connect
from streams.log import Log
from tests.bench import servers
from tests.bench.events import seed
from tests.bench.report import Row, main


class Plain(Projection):
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {plain} (
            conversation_id uuid,
            sequence bigint,
            text text,
            stream_sequence bigint,
            PRIMARY KEY (conversation_id, sequence)
        )
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert(
            self.name,
            key={"conversation_id": event.aggregate_id, "sequence": event.data.sequence},
            set={"text": event.data.text, "stream_sequence": event.sequence},
        )


class Poisoned(Plain):
    tables = Plain.tables.replace("{plain}", "{poisoned}")
    # Where in the stream the event stands that is written as the table does not take it; 0: mended.
    poison: ClassVar[int] = 0

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        if event.sequence != self.poison:
            super().sent(event, write)
            return
        write.upsert(
            self.name,
            key={"conversation_id": event.aggregate_id, "sequence": event.data.sequence},
            set={"text": "no\x00text", "stream_sequence": event.sequence},
        )


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=False) as (nc, _), servers.postgres() as database_url:
        log = Log(nc)
        # Ten events a conversation, 10,000 after another: with the first of a conversation nine wait.
        await seed(log, arguments.events)
        Poisoned.poison = arguments.events // 2 + 1
        plain_rate = (await rebuild(Plain, nc, database_url)).events_per_second
        poisoned_rate = (await rebuild(Poisoned, nc, database_url)).events_per_second
        waiting, seconds = await _retry(log, database_url)
        verdict = await verify(Poisoned, nc, database_url)
        assert verdict.equal, verdict
        assert (verdict.events, verdict.dead_letters) == (arguments.events, 0)
    return [
        Row("no event refused", plain_rate, "events/s"),
        Row("one event refused by its table, in the middle", poisoned_rate, "events/s", "not ruined"),
        Row("events that waited behind it", waiting, "events"),
        Row("to try it again, with those behind it", seconds * 1_000, "ms"),
    ]


async def _retry(log: Log, database_url: str) -> tuple[int, float]:
    """Retries the dead letter; returns how many events had waited, and the seconds that applying them took."""
    conn = await connect(database_url, "operator")
    try:
        (dead_letter,) = await resolution.first_failures(conn, Poisoned)
        Poisoned.poison = 0
        begun = time.perf_counter()
        retried = await resolution.retry(conn, log, Poisoned, dead_letter)
        assert retried.outcome == "applied", retried
        return dead_letter.waiting or 0, time.perf_counter() - begun
    finally:
        await conn.close()


if __name__ == "__main__":
    main(measure, events=100_000)
