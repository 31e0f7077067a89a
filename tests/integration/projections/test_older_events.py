"""A read model's handlers meet today's shape, whatever release stored the event."""

import msgspec
from nats.aio.client import Client

from contracts.envelope import Recorded
from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection, ReadModel, RowChanges, handles
from streams.log import Log
from tests.fix_older_events import ANNA, STORED, GreetingSent, as_stored
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened


class Greetings(Projection):
    streams = (MESSAGING,)
    tables = "CREATE TABLE {greetings} (sender_id uuid PRIMARY KEY, words bigint NOT NULL DEFAULT 0)"

    @handles(GreetingSent)
    def sent(self, event: Recorded[GreetingSent], write: RowChanges) -> None:
        write.upsert("greetings", key={"sender_id": event.data.sender_id}, add={"words": event.data.words})


class Row(msgspec.Struct):
    sender_id: str
    words: int


async def test_older_events_become_rows_as_todays_do(greetings: None, streams: Client, run: Opened, pool: Pool) -> None:
    log, talk = Log(streams), new_id()
    for index, schema in enumerate(STORED):
        last = await log.append(as_stored(schema, talk, expected=index, version=index + 1))
    runners = await run(Greetings)
    model = ReadModel(Greetings, pool, runners.waiting)
    await model.wait_for(Position.at(MESSAGING, last), PATIENCE)
    rows, _ = await model.select(Row, "SELECT * FROM {greetings}")
    assert rows == [Row(ANNA, 6)]
