"""Looking into the history of streams that were stored at another time than their events happened."""

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, encode, now, seal
from contracts.events.event import Event
from contracts.events.session import SessionCreated
from contracts.subjects import AUTH, MESSAGING, SESSION, STREAMS
from contracts.values.ids import new_id
from infra.cli.main import cli
from infra.history.event_history import EventQuery, EventView, Undecodable, select_events
from infra.history.login_audit import Query as AuditQuery
from infra.history.login_audit import Unreadable, audit_rows
from streams.restore import ArchivedMessage, StreamRestorer
from tests.integration.archive.conftest import sent

_BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
_PAGE = 1_000


def kept(number: int, event: Event, subject: Callable[[str], str]) -> ArchivedMessage:
    """The event at the given number of seconds after the start."""
    at = _BEGIN + timedelta(seconds=number)
    sealed = seal(event, aggregate_id=new_id(), version=1, provenance=Provenance(), at=at)
    return ArchivedMessage(subject(sealed.aggregate_id), encode(sealed), {"Nats-Msg-Id": sealed.id})


async def imported(nats: Client, stream: str, events: list[ArchivedMessage]) -> None:
    for begin in range(0, len(events), _PAGE):
        await StreamRestorer(nats, stream).put(begin + 1, events[begin : begin + _PAGE])


async def count_events(nats: Client, *, since: datetime | None = None, until: datetime | None = None) -> int:
    query = EventQuery(streams=(MESSAGING,), since=since, until=until)
    return len([shown async for page in select_events(nats, query) for shown in page])


async def test_a_span_of_time_is_that_of_the_events_and_not_of_the_import(streams: Client) -> None:
    await imported(streams, MESSAGING, [kept(number, sent(1), subjects.conversation) for number in range(1, 2_001)])
    middle = _BEGIN + timedelta(seconds=1_500)
    assert await count_events(streams, until=middle) == 1_499
    assert await count_events(streams, since=middle) == 501
    assert await count_events(streams, since=middle, until=middle + timedelta(seconds=100)) == 100


async def test_an_audit_of_a_span_of_time_is_that_of_the_logins_and_not_of_the_import(streams: Client) -> None:
    login = SessionCreated(
        user_id=new_id(), username="anna", device="", address="", expires_at=_BEGIN.replace(year=2999)
    )
    # More than a reader gives out at once.
    await imported(streams, SESSION, [kept(number, login, subjects.session) for number in range(1, 8_001)])
    until = _BEGIN + timedelta(seconds=7_000)
    pages = audit_rows(streams, AuditQuery(until=until))
    assert len([row async for page in pages for row in page]) == 6_999


STRANGE = {
    "no JSON": b"\xff\x00",
    "text that is not UTF-8": b'{"id":"\xff"}',
    "arrays without end": b'{"x":' + b"[" * 9_999,
    "data that is not UTF-8": encode(seal(sent(1), aggregate_id="c", version=1, provenance=Provenance())).replace(
        b"hello", b"\xff\xfe"
    ),
    "a time without a zone": b'{"id":"i","type":"message.sent","schema":1,"aggregate_id":"a","version":1,'
    b'"at":"2026-01-31T12:00:00","data":{}}',
}


async def shown(nats: Client, **asked: Any) -> list[EventView | Undecodable]:  # noqa: ANN401 - fields of a query
    return [event async for page in select_events(nats, EventQuery(streams=tuple(STREAMS), **asked)) for event in page]


@pytest.mark.parametrize("payload", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("raw", [False, True])
async def test_what_is_no_event_is_shown_as_bytes_at_its_place_and_the_rest_goes_on(
    streams: Client, payload: bytes, raw: bool
) -> None:
    begun = now()
    await imported(streams, MESSAGING, [kept(1, sent(1), subjects.conversation)])
    await streams.request(subjects.conversation("c"), payload)
    await streams.request(subjects.credential("u"), payload)
    await StreamRestorer(streams, MESSAGING).put(3, [kept(3, sent(1), subjects.conversation)])
    views = {(event.stream, event.sequence): event for event in await shown(streams, raw=raw)}
    assert [type(views[MESSAGING, number]) for number in (1, 2, 3)] == [EventView, Undecodable, EventView]
    strange, private = views[MESSAGING, 2], views[AUTH, 1]
    assert isinstance(strange, Undecodable)
    assert (strange.subject, strange.payload, strange.size) == (subjects.conversation("c"), payload, len(payload))
    assert strange.stored_at is not None
    assert strange.stored_at > begun - timedelta(minutes=1)
    # Nobody knows what it holds.
    if isinstance(private, Undecodable):
        assert private.payload is None
    else:
        assert private.is_private or private.data == b"null"
    # The time of what can be read in part is that of when this module was loaded.
    assert MESSAGING in {event.stream for event in await shown(streams, raw=raw, since=begun - timedelta(days=1))}
    assert not await shown(streams, raw=raw, until=_BEGIN)
    assert len(await shown(streams, raw=raw, type="message.sent")) in (2, 3)


async def test_following_goes_on_behind_what_is_no_event(streams: Client) -> None:
    async with aclosing(select_events(streams, EventQuery(streams=(MESSAGING,), follow=True))) as pages:
        first = asyncio.create_task(anext(pages))
        events: list[EventView | Undecodable] = []
        for payload in (*STRANGE.values(), encode(seal(sent(1), aggregate_id="c", version=9, provenance=Provenance()))):
            await streams.request(subjects.conversation("c"), payload)
        events += await first
        while len(events) < len(STRANGE) + 1:
            events += await anext(pages)
    assert [type(event) for event in events] == [Undecodable] * len(STRANGE) + [EventView]


async def test_an_audit_names_what_it_cannot_read_and_has_the_rest(streams: Client) -> None:
    login = SessionCreated(
        user_id=new_id(), username="anna", device="", address="", expires_at=_BEGIN.replace(year=2999)
    )
    await imported(streams, SESSION, [kept(1, login, subjects.session)])
    for payload in STRANGE.values():
        await streams.request(subjects.session("s"), payload)
    await StreamRestorer(streams, SESSION).put(len(STRANGE) + 2, [kept(9, login, subjects.session)])
    usernames: list[str] = []

    async def read() -> None:
        async for page in audit_rows(streams, AuditQuery()):
            usernames.extend(str(row.username) for row in page)

    with pytest.raises(Unreadable, match="these events cannot be read: SESSION 2, SESSION 3, SESSION 4"):
        await read()
    assert usernames == ["anna", "anna"]


async def test_the_command_shows_what_is_no_event_and_ends_well(streams: Client) -> None:
    for payload in STRANGE.values():
        await streams.request(subjects.conversation("c"), payload)
    await streams.request(subjects.credential("u"), b"\xff a secret")
    environment = {"VESTNIK_NATS_URL": str(streams.connected_url.geturl())} if streams.connected_url else {}
    for arguments in ([], ["--raw"], ["--json"]):
        done = await asyncio.to_thread(CliRunner().invoke, cli, ["events", *arguments], env=environment)
        assert done.exit_code == 0, done.output
        # The command itself is recorded as an operator's look.
        lines = [line for line in done.stdout.splitlines() if "OPERATOR" not in line]
        assert len(lines) == len(STRANGE) + 1
        assert not any("a secret" in line or base64.b64encode(b"secret").decode()[:6] in line for line in lines)
        if arguments == ["--json"]:
            parsed = {(event["stream"], event["sequence"]): event for event in map(json.loads, lines)}
            assert base64.b64decode(parsed[MESSAGING, 1]["payload"]) == STRANGE["no JSON"]
        else:
            (first,) = [line for line in lines if "MESSAGING 1 " in line]
            assert "(cannot be read)" in first
            assert r"b'\xff\x00'" in first
            assert any("10 private bytes" in line for line in lines)
