"""Messages, active people and logins an hour, out of two streams."""

from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import now
from contracts.events.session import SessionCreated, SessionRevoked
from contracts.identifiers import new_id
from contracts.positions import Position
from contracts.subjects import MESSAGING, SESSION
from projections.analytics import Analytics
from projections.engine import ReadModel
from projections.engine.connecting import connect
from projections.engine.rebuild import rebuild
from projections.engine.status import projection_statuses, stream_status
from projections.engine.verify import verify
from tests.fix_postgres import Pool
from tests.integration.projections.writing import SENDER, Opened, Writer, conversation_ids


class Hour(msgspec.Struct):
    messages: int
    logins: int


class Active(msgspec.Struct):
    user_id: str
    messages: int


async def test_hours_are_counted_whatever_the_order_of_the_streams(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Analytics)
    model = ReadModel(Analytics, pool, runners.waiting)
    session = new_id()
    said = await writer.say(conversation_ids(1)[0], "a", "b", "c")
    login = SessionCreated(
        user_id=SENDER, username="ada", device="", address="::1", expires_at=datetime(2027, 1, 1, tzinfo=UTC)
    )
    ended = await writer.append(subjects.session(session), login, SessionRevoked(user_id=SENDER, reason="logout"))
    await model.wait_for(Position({MESSAGING: said, SESSION: ended}))
    hours, _ = await model.select(
        Hour,
        "SELECT sum(messages)::int AS messages, sum(logins)::int AS logins FROM {analytics} WHERE hour <= %(now)s",
        {"now": now()},
    )
    assert hours == [Hour(3, 1)]
    active, _ = await model.select(
        Active, "SELECT user_id, sum(messages)::int AS messages FROM {active_people} GROUP BY 1"
    )
    assert active == [Active(SENDER, 3)]
    await rebuild(Analytics, streams, database_url)
    verdict = await verify(Analytics, streams, database_url)
    assert (verdict.equal, verdict.events) == (True, 5)


async def test_a_filtered_projection_that_has_read_everything_has_no_lag(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Analytics)
    last = await writer.append("vestnik.session.private.x", SessionRevoked(user_id=SENDER, reason="not for the filter"))
    conn = await connect(database_url, "status")
    try:
        found = await projection_statuses([Analytics], conn, streams, [await stream_status(streams, SESSION)])
    finally:
        await conn.close()
    assert [status.lag for status in found] == [0]
    await runners.waiting.wait(Analytics, Position.at(SESSION, last))
