"""The paginated audit from the read model equals the audit from the stream."""

from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, encode, seal
from contracts.events.event import Event
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.subjects import SESSION
from contracts.values.ids import new_id
from infra.history import login_audit
from infra.history.login_audit import Query, Row
from infra.security.service_schemas import CachedSchemas
from projections.engine.rebuild.rebuild import rebuild
from projections.session_audit import SessionAudit
from services.operator.history.login_audit import newest
from services.operator.history.queries import HistoryQueries
from services.operator.read_models import ReadModels
from streams.restore import ArchivedMessage, StreamRestorer

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
USERS = {name: new_id() for name in ("anna", "boris", "clara")}
ALL = Query()


def kept(session_id: str, version: int, at: datetime, event: Event, actor: str | None = None) -> ArchivedMessage:
    sealed = seal(event, aggregate_id=session_id, version=version, provenance=Provenance(actor=actor), at=at)
    return ArchivedMessage(subjects.session(session_id), encode(sealed), {"Nats-Msg-Id": sealed.id})


def history() -> list[ArchivedMessage]:
    """Sessions that go on, were refreshed, ran out, were ended by their users and by an operator, in order of time."""
    events: list[tuple[datetime, ArchivedMessage]] = []

    def happened(session_id: str, version: int, at: datetime, event: Event, actor: str | None = None) -> None:
        events.append((at, kept(session_id, version, at, event, actor)))

    for number in range(60):
        name = list(USERS)[number % len(USERS)]
        user_id, session_id, login = USERS[name], new_id(), BEGIN + timedelta(minutes=7 * number)
        # Every second one is over by now.
        end = login + (timedelta(hours=2, seconds=3) if number % 2 else timedelta(days=30_000))
        event = SessionCreated(user_id=user_id, username=name, device="phone", address="192.0.2.1", expires_at=end)
        happened(session_id, 1, login, event)
        later, version = login + timedelta(minutes=30, seconds=number), 2
        if number % 3 == 0:
            end += later - login
            happened(session_id, 2, later, SessionRefreshed(user_id=user_id, generation=2, expires_at=end))
            version = 3
        if number % 5 == 0:
            # Some of them only when they had run out.
            at = later + timedelta(minutes=5) if number % 4 else later + timedelta(hours=9)
            ended = SessionRevoked(user_id=user_id, reason="operator" if number % 10 else "logout", note="a lost phone")
            happened(session_id, version, at, ended, "operator:alice")
    return [each for _, each in sorted(events, key=lambda event: event[0])]


@pytest_asyncio.fixture
async def queries(streams: Client, database_url: str) -> HistoryQueries:
    """The read model of the history."""
    await StreamRestorer(streams, SESSION).put(1, history())
    await rebuild(SessionAudit, streams, database_url)
    return HistoryQueries(ReadModels(CachedSchemas(database_url)))


async def pages(queries: HistoryQueries, query: Query, limit: int) -> list[Row]:
    found = await newest(queries, query, limit=limit, cursor="")
    rows = found.items
    while found.older:
        found = await newest(queries, query, limit=limit, cursor=found.older)
        rows += found.items
    return rows


@pytest.mark.parametrize(
    "query",
    [
        ALL,
        Query(refreshes=True),
        Query(user="boris"),
        Query(user=USERS["anna"], refreshes=True),
        Query(since=BEGIN + timedelta(hours=1), until=BEGIN + timedelta(hours=4)),
        Query(user="Clara", until=BEGIN + timedelta(hours=3)),
        Query(user="nobody"),
    ],
    ids=[
        "all",
        "with refreshes",
        "by name",
        "by id",
        "of a span",
        "by a display name until a time",
        "of an unknown user",
    ],
)
async def test_pages_hold_what_the_stream_says(streams: Client, queries: HistoryQueries, query: Query) -> None:
    told = [row async for page in login_audit.audit_rows(streams, query) for row in page]
    assert await pages(queries, query, 7) == sorted(told, key=lambda row: row.at, reverse=True)
