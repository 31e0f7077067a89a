"""Looking through the streams: every event once, the newest first, however rare and however many there are."""

from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, encode, seal
from contracts.events.session import SessionRevoked
from contracts.positions import Position
from contracts.subjects import MESSAGING, SESSION, STREAMS, conversation, session
from contracts.values.ids import new_id
from infra.history.event_history import EventQuery
from services.operator.history import event_browser
from services.operator.history.event_browser import EventsFound, events_after, latest_events
from streams.log import Append, Log
from streams.message import Message
from streams.restore import ArchivedMessage, StreamRestorer
from tests.integration.streams.conftest import fill

EVERYTHING = EventQuery(streams=tuple(STREAMS))
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def revoke(log: Log, session_id: str) -> None:
    event = SessionRevoked(user_id=new_id(), reason="logout")
    envelope = seal(event, aggregate_id=session_id, version=1, provenance=Provenance())
    await log.append(Append(subject=session(session_id), expected=0, envelope=envelope))


async def pages(nats: Client, query: EventQuery, limit: int) -> list[EventsFound]:
    """Reads all matching events, page by page back to the beginning."""
    event_pages = [await latest_events(nats, query, limit=limit)]
    while event_pages[-1].older is not None:
        event_pages.append(await latest_events(nats, query, limit=limit, before=Position.decode(event_pages[-1].older)))
    return event_pages


async def test_going_back_shows_every_event_of_every_stream_once(streams: Client) -> None:
    log = Log(streams)
    await fill(log, 700)
    sessions = [new_id() for _ in range(30)]
    for session_id in sessions:
        await revoke(log, session_id)
    await fill(log, 40)
    events = await pages(streams, EVERYTHING, 100)
    items = [event for page in events for event in page.items]
    assert [event.sequence for event in items if event.stream == MESSAGING] == list(range(740, 0, -1))
    assert [event.aggregate_id for event in items if event.stream == "SESSION"] == sessions[::-1]
    assert all(len(page.items) == 100 for page in events[:-1])
    assert [event.at for event in items] == sorted((event.at for event in items), reverse=True)


async def test_a_rare_event_is_found_however_far_back_it_is(streams: Client) -> None:
    log = Log(streams)
    await fill(log, 1, "rare")
    await fill(log, 3_000)
    events = await pages(streams, EventQuery(streams=(MESSAGING,), aggregate_id="rare"), 10)
    assert [event.sequence for page in events for event in page.items] == [1]


async def test_what_has_come_since_is_shown_and_of_very_much_only_the_newest(streams: Client) -> None:
    log = Log(streams)
    await fill(log, 5)
    begun = await latest_events(streams, EVERYTHING, limit=2)
    assert [event.sequence for event in begun.items] == [5, 4]
    nothing = await events_after(streams, EVERYTHING, limit=10, after=Position.decode(begun.newer))
    assert (nothing.items, nothing.newer) == ([], begun.newer)
    await fill(log, 3)
    page = await events_after(streams, EVERYTHING, limit=10, after=Position.decode(begun.newer))
    assert [event.sequence for event in page.items] == [8, 7, 6]
    await fill(log, event_browser.MOST_BEHIND + 10)
    many = await events_after(streams, EVERYTHING, limit=50, after=Position.decode(page.newer))
    end = 8 + event_browser.MOST_BEHIND + 10
    assert [event.sequence for event in many.items] == list(range(end, end - 50, -1))
    assert many.skipped == event_browser.MOST_BEHIND + 10 - 50


async def test_nothing_personal_is_shown_and_garbage_is_counted(streams: Client) -> None:
    log = Log(streams)
    await fill(log, 2)
    await streams.request(conversation("b"), b"no event", timeout=60)
    page = await latest_events(streams, EVERYTHING, limit=10)
    assert [b"hello" in bytes(event.data) for event in page.items] == [False, False]
    assert page.unreadable == 1


async def test_empty_streams_have_nothing_to_show(streams: Client) -> None:
    page = await latest_events(streams, EVERYTHING, limit=10)
    assert (page.items, page.older) == ([], None)


async def test_what_is_no_event_is_counted_and_passed_over(streams: Client) -> None:
    log = Log(streams)
    await fill(log, 2)
    sealed = encode(
        seal(SessionRevoked(user_id="u", reason="logout"), aggregate_id="s", version=1, provenance=Provenance())
    )
    for payload in (b"\xff", b'{"id":"\xff"}', b'{"x":' + b"[" * 9_999, sealed.replace(b"logout", b"\xff")):
        await streams.request(session("s"), payload)
    await revoke(log, new_id())
    for page in (
        await latest_events(streams, EVERYTHING, limit=100),
        await events_after(streams, EVERYTHING, limit=100, after=Position()),
    ):
        assert sorted((event.stream, event.sequence) for event in page.items) == [
            (MESSAGING, 1),
            (MESSAGING, 2),
            ("SESSION", 5),
        ]
        assert page.unreadable == 4


def at_second(number: int) -> ArchivedMessage:
    """The end of a session, the given number of seconds after the start."""
    at = BEGIN + timedelta(seconds=number)
    session_id = new_id()
    event = SessionRevoked(user_id=new_id(), reason="logout")
    sealed = seal(event, aggregate_id=session_id, version=1, provenance=Provenance(), at=at)
    return ArchivedMessage(session(session_id), encode(sealed), {"Nats-Msg-Id": sealed.id})


async def test_a_span_of_time_is_found_without_reading_what_lies_outside(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an imported stream too, whose messages were all stored at one time."""
    for begin in range(0, 20_000, 1_000):
        page = [at_second(number) for number in range(begin, begin + 1_000)]
        await StreamRestorer(streams, SESSION).put(begin + 1, page)
    looked_at: list[int] = []
    take = event_browser._take

    def counted(scan_range: event_browser.ScanRange, query: EventQuery, message: Message) -> None:
        looked_at.append(message.sequence)
        take(scan_range, query, message)

    monkeypatch.setattr(event_browser, "_take", counted)
    since, until = BEGIN + timedelta(seconds=5_000), BEGIN + timedelta(seconds=5_100)
    query = EventQuery(streams=(SESSION,), since=since, until=until)
    events = await pages(streams, query, 40)
    assert [event.sequence for page in events for event in page.items] == list(range(5_100, 5_000, -1))
    assert len(looked_at) < 2_000
    one = EventQuery(streams=(SESSION,), since=since, until=until, aggregate_id=events[0].items[0].aggregate_id)
    assert [event.sequence for page in await pages(streams, one, 40) for event in page.items] == [5_100]
    none = EventQuery(streams=(SESSION,), since=since, until=until, type="session.created")
    assert [event for page in await pages(streams, none, 40) for event in page.items] == []
    before = len(looked_at)
    early = EventQuery(streams=(SESSION,), until=BEGIN)
    assert (await latest_events(streams, early, limit=10)).older is None
    assert len(looked_at) - before < 300


async def test_the_time_of_storage_says_where_a_span_begins(streams: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(streams)
    await fill(log, 3_000)
    monkeypatch.setattr(event_browser, "_between", None)
    later = datetime.now(UTC) + timedelta(hours=1)
    page = await latest_events(streams, EventQuery(streams=(MESSAGING,), since=later), limit=10)
    assert (page.items, page.older) == ([], None)
