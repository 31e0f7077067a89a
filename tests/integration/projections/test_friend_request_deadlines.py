"""The timers of friend requests."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
from nats.aio.client import Client

from contracts.envelope import Provenance, seal
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.user import UserErased
from contracts.positions import Position
from contracts.subjects import AUTH, CONTACT, friendship, user
from contracts.values.ids import new_id, pair_id
from projections.engine import ReadModel
from projections.friend_request_deadlines import FriendRequestDeadlines
from projections.friends import Friends
from services.contact.requests.domain import RequestTerms
from services.contact.requests.queries import DeadlineQueries
from streams.log import Append, Log
from tests.fix_postgres import Pool
from tests.fix_read_models import OpenReadModel
from tests.integration.projections.event_writer import PATIENCE, Opened, until_ready

ANNA, BORIS, CARL = new_id(), new_id(), new_id()
ASKED = datetime(2026, 1, 31, 12, tzinfo=UTC)
REMINDED = ASKED + timedelta(days=7)
REMINDER = FriendshipCreated(requester_id=ANNA, addressee_id=BORIS, requested_at=ASKED)
TABLES = ("friend_request_deadlines", "erased")
ROWS = (
    "SELECT requester_id, addressee_id, requested_at, reminded_at FROM {friend_request_deadlines} ORDER BY requested_at"
)


async def test_a_pending_request_has_a_row_until_it_is_answered_or_cancelled(read_model: OpenReadModel) -> None:
    model = await read_model(FriendRequestDeadlines)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS), at=ASKED)
    await model.when(FriendshipCreated(requester_id=CARL, addressee_id=ANNA), at=ASKED + timedelta(hours=1))
    assert await model.rows(ROWS) == [
        (ANNA, BORIS, ASKED, None),
        (CARL, ANNA, ASKED + timedelta(hours=1), None),
    ]
    await model.when(REMINDER, at=REMINDED)
    await model.when(FriendshipAccepted(requester_id=CARL, addressee_id=ANNA))
    assert await model.rows(ROWS) == [(ANNA, BORIS, ASKED, REMINDED)]
    await model.when(FriendshipRemoved(remover_id=BORIS, other_id=ANNA, request_goes_on=True))
    assert await model.rows(ROWS) == [(ANNA, BORIS, ASKED, REMINDED)]
    await model.when(FriendshipRemoved(remover_id=ANNA, other_id=BORIS, expired=True))
    assert await model.rows(ROWS) == []
    await model.when(FriendshipCreated(requester_id=BORIS, addressee_id=ANNA), at=REMINDED)
    assert await model.rows(ROWS) == [(BORIS, ANNA, REMINDED, None)]


async def test_to_both_a_request_is_as_old_as_it_was_before_the_reminder(read_model: OpenReadModel) -> None:
    model = await read_model(Friends)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS), at=ASKED)
    before = await model.rows("SELECT * FROM {friends} ORDER BY user_id")
    await model.when(REMINDER, at=REMINDED)
    assert await model.rows("SELECT * FROM {friends} ORDER BY user_id") == before
    assert await model.rows("SELECT count(*) FROM {friend_changes}") == [(2,)]


async def test_what_is_due_is_read_in_pages_the_oldest_first(streams: Client, run: Opened, pool: Pool) -> None:
    log, asked, last = Log(streams), [new_id() for _ in range(5)], 0
    for minute, user_id in enumerate(asked):
        # As reminders, so that each has a time of its own; two at the same.
        at = ASKED + timedelta(minutes=minute // 2)
        request = FriendshipCreated(requester_id=ANNA, addressee_id=user_id, requested_at=at)
        pair = pair_id(ANNA, user_id)
        envelope = seal(request, aggregate_id=pair, version=1, provenance=Provenance())
        last = await log.append(Append(subject=friendship(pair), expected=0, envelope=envelope))
    runners = await run(FriendRequestDeadlines)
    model = ReadModel(FriendRequestDeadlines, pool, runners.waiting)
    await model.wait_for(Position.at(CONTACT, last), PATIENCE)
    queries, terms, late = DeadlineQueries(model), RequestTerms.of_days(0, 1), ASKED + timedelta(days=2)
    every = await queries.due(terms, late, 10, after=None)
    assert {request.addressee_id for request in every} == set(asked)
    assert [request.requested_at for request in every] == sorted(request.requested_at for request in every)
    for number in range(len(every) + 1):
        after = every[number - 1] if number else None
        assert await queries.due(terms, late, 2, after=after) == every[number : number + 2]
    # One of an erased user is due at any time, and is one request however many reasons there are to find it.
    gone = every[3].addressee_id
    erased = await log.append(
        Append(
            subject=user(gone),
            expected=0,
            envelope=seal(UserErased(reason="requested"), aggregate_id=gone, version=1, provenance=Provenance()),
        )
    )
    await model.wait_for(Position.at(AUTH, erased), PATIENCE)
    expected = msgspec.structs.replace(every[3], erased=True)
    assert await queries.due(terms, ASKED, 10, after=None) == [expected]
    assert await queries.due(terms, ASKED, 10, after=expected) == []
    assert await queries.due(terms, late, 10, after=None) == [*every[:3], expected, *every[4:]]


async def test_what_is_due_is_found_by_indexes_among_many_requests(streams: Client, run: Opened, pool: Pool) -> None:
    runners = await run(FriendRequestDeadlines)
    await until_ready(runners)
    plans: list[str] = []

    class Explained:
        async def select(
            self, row_type: type[object], sql: str, params: Mapping[str, object]
        ) -> tuple[list[object], Position]:
            for table in TABLES:
                sql = sql.replace(f"{{{table}}}", FriendRequestDeadlines.view(table))
            async with pool.connection() as conn:
                cursor = await conn.execute(f"EXPLAIN {sql}".encode(), params)
                plans.extend(str(line) for (line,) in await cursor.fetchall())
            return [], Position()

    requests, erased = map(FriendRequestDeadlines.view, TABLES)
    async with pool.connection() as conn:
        await conn.execute(
            f"""
            INSERT INTO {requests} (pair_id, requester_id, addressee_id, requested_at)
            SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now() - random() * interval '6 days'
            FROM generate_series(1, 50000)
            """.encode()
        )
        await conn.execute(
            f"INSERT INTO {erased} (user_id) SELECT gen_random_uuid() FROM generate_series(1, 100)".encode()
        )
        await conn.execute(b"ANALYZE")
    queries = DeadlineQueries(cast(ReadModel, Explained()))
    await queries.due(RequestTerms.of_days(7, 14), datetime.now(UTC), 100, after=None)
    assert plans
    assert [line for line in plans if f"Seq Scan on {requests}" in line] == []
