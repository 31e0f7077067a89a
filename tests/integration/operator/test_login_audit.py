"""The paginated audit from the read model equals the audit from the stream."""

from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, encode, seal
from contracts.events.event import Event
from contracts.events.login_failure import UNKNOWN, LoginFailed
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.events.user import UserCreated
from contracts.subjects import AUTH, SESSION
from contracts.values.addresses import parse_network
from contracts.values.ids import new_id
from infra.history import login_audit
from infra.history.failed_logins import failure_rows, merged
from infra.history.login_audit import Query, Row
from infra.security.service_schemas import CachedSchemas
from projections.engine.rebuild.rebuild import rebuild
from projections.login_failures import LoginFailures
from projections.session_audit import SessionAudit
from projections.users import Users
from services.operator.history.queries import HistoryQueries
from services.operator.logins.audit import newest
from services.operator.logins.queries import LoginQueries
from services.operator.read_models import ReadModels
from streams.restore import ArchivedMessage, StreamRestorer

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
USERS = {name: new_id() for name in ("anna", "boris", "clara")}
ERASED = new_id()
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
            # On the command line and on the page; of an account that is erased only the id is left.
            who = ("alice", USERS["clara"], ERASED)[number // 5 % 3]
            happened(session_id, version, at, ended, f"operator:{who}")
    return [message for _, message in sorted(events, key=lambda event: event[0])]


def failed_logins() -> list[ArchivedMessage]:
    """Failed logins to anna and boris and to no account, some at the very time of a login."""
    messages: list[ArchivedMessage] = []
    for number in range(40):
        user_id = [USERS["anna"], USERS["boris"], None][number % 3]
        account = user_id or UNKNOWN
        event = LoginFailed(
            user_id=user_id,
            reason="unknown_login" if user_id is None else "wrong_password",
            address="192.0.2.0/24" if number % 2 else "198.51.100.9",
            device="a PHONE" if number % 4 else "",
            number=number // 3 + 1,
            count=number + 1,
        )
        sealed = seal(
            event,
            aggregate_id=account,
            version=number // 3 + 1,
            provenance=Provenance(),
            at=BEGIN + timedelta(minutes=7 * number),
        )
        messages.append(ArchivedMessage(subjects.login_failures(account), encode(sealed), {"Nats-Msg-Id": sealed.id}))
    return messages


def accounts() -> list[ArchivedMessage]:
    messages: list[ArchivedMessage] = []
    for name, user_id in USERS.items():
        event = UserCreated(username=name, display_name=None)
        sealed = seal(event, aggregate_id=user_id, version=1, provenance=Provenance(), at=BEGIN)
        messages.append(ArchivedMessage(subjects.user(user_id), encode(sealed), {"Nats-Msg-Id": sealed.id}))
    return messages


@pytest_asyncio.fixture
async def read_models(streams: Client, database_url: str) -> ReadModels:
    """The read model of the history."""
    await StreamRestorer(streams, SESSION).put(1, history())
    await StreamRestorer(streams, AUTH).put(1, [*accounts(), *failed_logins()])
    for projection in (SessionAudit, LoginFailures, Users):
        await rebuild(projection, streams, database_url)
    return ReadModels(CachedSchemas(database_url))


async def pages(
    read_models: ReadModels, query: Query, limit: int, *, failures: bool = False, session_id: str | None = None
) -> list[Row]:
    rows: list[Row] = []
    cursor = ""
    while True:
        page = await newest(
            HistoryQueries(read_models),
            LoginQueries(read_models),
            query,
            limit=limit,
            cursor=cursor,
            failures=failures,
            session_id=session_id,
        )
        names = Row.__struct_fields__
        rows += [Row(**{name: getattr(row, name) for name in names}) for row in page.items]
        if page.older is None:
            return rows
        cursor = page.older


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
        Query(reason="operator"),
        Query(reason="expired"),
        Query(device="PHON", network=parse_network("192.0.0.0/16")),
        Query(network=parse_network("198.51.100.1")),
    ],
    ids=[
        "all",
        "with refreshes",
        "by name",
        "by id",
        "of a span",
        "by a display name until a time",
        "of an unknown user",
        "by reason",
        "those that expired",
        "by device and network",
        "from another network",
    ],
)
async def test_pages_hold_what_the_stream_says(streams: Client, read_models: ReadModels, query: Query) -> None:
    from_stream = [row async for page in login_audit.audit_rows(streams, query) for row in page]
    assert await pages(read_models, query, 7) == sorted(from_stream, key=lambda row: row.at, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        ALL,
        Query(user="boris"),
        Query(user=USERS["anna"], reason="wrong_password"),
        Query(reason="unknown_login", device="phone"),
        Query(network=parse_network("192.0.2.77")),
        Query(network=parse_network("198.51.100.0/24")),
        Query(since=BEGIN + timedelta(minutes=14), until=BEGIN + timedelta(minutes=70)),
    ],
    ids=["all", "by name", "by id and reason", "by reason and device", "by address", "by network", "of a span"],
)
async def test_failed_logins_stand_between_the_sessions_as_in_the_streams(
    streams: Client, read_models: ReadModels, query: Query
) -> None:
    user_id = USERS.get(query.user or "", query.user)
    sources = (login_audit.audit_rows(streams, query), failure_rows(streams, query, user_id))
    from_streams = [row async for page in merged(*sources) for row in page]
    from_read_models = await pages(read_models, query, 7, failures=True)
    assert [row.at for row in from_read_models] == sorted((row.at for row in from_streams), reverse=True)
    assert sorted(map(repr, from_read_models)) == sorted(map(repr, from_streams))
    assert any(row.event == "login.failed" for row in from_streams)


async def test_operators_are_named_though_events_have_the_ids_of_their_accounts(
    streams: Client, read_models: ReadModels
) -> None:
    query = Query(reason="operator")
    reasons = {row.reason async for page in login_audit.audit_rows(streams, query) for row in page}
    assert reasons == {f"operator {who}: a lost phone" for who in ("alice", "clara", ERASED)}


async def test_one_session_is_found_without_failed_logins(streams: Client, read_models: ReadModels) -> None:
    rows = [row async for page in login_audit.audit_rows(streams, ALL) for row in page]
    session_id = rows[0].session_id
    events = await pages(read_models, ALL, 1, failures=True, session_id=session_id)
    assert events == [row for row in reversed(rows) if row.session_id == session_id]
    assert await pages(read_models, Query(user="boris"), 1, session_id=session_id) == []
