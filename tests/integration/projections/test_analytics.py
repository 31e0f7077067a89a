"""Hourly messages, active people and logins from two streams, and how long messages wait to be seen."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.events.event import Event
from contracts.events.message import MessageSeen
from contracts.events.session import SessionCreated, SessionRevoked
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import pair_id
from infra.cli.events.analytics import hours
from projections.analytics import Analytics
from projections.conversations import Conversations
from projections.engine.inspection.verify import NotBuilt
from projections.engine.status.status import projection_statuses, stream_status
from projections.engine.storage.connections import connect
from projections.notifications import Notifications
from streams.log import Append, Log
from tests.fix_read_models import OpenReadModel
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, SENDER, Opened, Writer, seen, sent

CONVERSATION = pair_id(SENDER, RECIPIENT)


async def test_hours_are_counted_whatever_the_order_of_the_streams(read_model: OpenReadModel) -> None:
    model = await read_model(Analytics)
    await model.given(sent("a", 1), sent("b", 2), at="2026-01-31T12:59:58Z")
    await model.when(sent("c", 3), seen(CONVERSATION, 3), at="2026-01-31T13:00:00Z")
    await model.when(login(RECIPIENT), SessionRevoked(user_id=RECIPIENT, reason="logout"), at="2026-01-31T13:00:05Z")
    await model.when(seen(CONVERSATION, 3), at="2026-01-31T15:00:00Z")
    hour = "to_char(hour AT TIME ZONE 'UTC', 'HH24')"
    assert await model.rows(f"SELECT {hour}, messages, logins FROM {{analytics}} ORDER BY hour") == [
        ("12", 2, 0),
        ("13", 1, 1),
    ]
    assert await model.rows(f"SELECT {hour}, user_id FROM {{active_people}} ORDER BY hour, user_id") == [
        ("12", SENDER),
        *[("13", person) for person in sorted((SENDER, RECIPIENT))],
        ("15", RECIPIENT),
    ]


async def test_the_report_tells_how_long_messages_waited_to_be_seen(
    streams: Client, run: Opened, database_url: str
) -> None:
    runners = await run(Analytics, Conversations)
    talk = Talk(Log(streams))
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    await talk.say(SENDER, noon)
    await talk.say(SENDER, noon + timedelta(seconds=10))
    # Covers both.
    await talk.see(RECIPIENT, 2, noon + timedelta(seconds=20))
    await talk.say(SENDER, noon + timedelta(seconds=30))
    # To answer is to have seen; a later mark of the same does not count.
    await talk.say(RECIPIENT, noon + timedelta(seconds=60))
    await talk.see(RECIPIENT, 3, noon + timedelta(seconds=90))
    await talk.say(SENDER, noon + timedelta(hours=1))
    last = await talk.see(SENDER, 4, noon + timedelta(hours=2))
    for projection in (Analytics, Conversations):
        await runners.waiting.wait(projection, Position.at(MESSAGING, last), timeout=30)
    conn = await connect(database_url, "analytics")
    try:
        rows = await hours(conn, noon + timedelta(minutes=5), noon + timedelta(days=1))
        first, second, third = rows
        assert (first.messages, first.active_people, first.logins, first.seen) == (4, 2, 0, 4)
        # 20, 10, 30 and, the answer seen by the next message, 3,540 seconds.
        assert (first.seen_mean_seconds, first.seen_p50_seconds) == (900.0, 25.0)
        assert (second.hour, second.messages, second.seen, second.seen_p50_seconds) == (
            noon + timedelta(hours=1),
            1,
            0,
            None,
        )
        assert (third.messages, third.active_people, third.seen) == (0, 1, 0)
        assert [hour.hour for hour in await hours(conn, noon + timedelta(hours=1), second.hour)] == []
        assert await hours(conn, noon + timedelta(hours=1), noon + timedelta(hours=1, seconds=1)) == [second]
    finally:
        await conn.close()


async def test_a_report_without_read_models_says_so(database_url: str) -> None:
    conn = await connect(database_url, "analytics")
    try:
        with pytest.raises(NotBuilt, match="analytics"):
            await hours(conn, datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    finally:
        await conn.close()


class Talk:
    """A conversation of two users, with events at times that the test sets."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._last: dict[str, tuple[int, int]] = {}

    async def say(self, sender: str, at: datetime) -> int:
        sequence = self._last.get(subjects.conversation(CONVERSATION), (0, 0))[1] + 1
        message = sent("text", sequence)
        if sender == RECIPIENT:
            message = msgspec.structs.replace(message, sender_id=RECIPIENT, recipient_id=SENDER)
        return await self._append(subjects.conversation(CONVERSATION), CONVERSATION, message, at)

    async def see(self, reader: str, sequence: int, at: datetime) -> int:
        peer = SENDER if reader == RECIPIENT else RECIPIENT
        mark = MessageSeen(conversation_id=CONVERSATION, reader_id=reader, peer_id=peer, sequence=sequence)
        return await self._append(subjects.read_mark(CONVERSATION, reader), CONVERSATION, mark, at)

    async def _append(self, subject: str, aggregate_id: str, event: Event, at: datetime) -> int:
        last, version = self._last.get(subject, (0, 0))
        envelope = seal(event, aggregate_id=aggregate_id, version=version + 1, provenance=Provenance(), at=at)
        last = await self._log.append(Append(subject=subject, expected=last, envelope=envelope))
        self._last[subject] = (last, version + 1)
        return last


def login(user_id: str) -> SessionCreated:
    return SessionCreated(
        user_id=user_id, username="ada", device="", address="::1", expires_at=datetime(2027, 1, 1, tzinfo=UTC)
    )


async def test_a_filtered_projection_that_has_read_everything_has_no_lag(
    streams: Client, writer: Writer, run: Opened, database_url: str
) -> None:
    runners = await run(Notifications)
    last = await writer.append("vestnik.contact.private.x", SessionRevoked(user_id=SENDER, reason="not for the filter"))
    conn = await connect(database_url, "status")
    try:
        statuses = await projection_statuses([Notifications], conn, streams, [await stream_status(streams, CONTACT)])
    finally:
        await conn.close()
    assert [status.lag for status in statuses] == [0]
    await runners.waiting.wait(Notifications, Position.at(CONTACT, last), PATIENCE)
