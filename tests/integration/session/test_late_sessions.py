"""A session that an erased user gets all the same ends by itself."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import pytest
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.errors import ReadModelBehind
from contracts.events.session import SessionRevoked
from contracts.events.user import UserErased
from contracts.positions import Position
from contracts.rpc.vestnik.session.v1 import CreateSessionRequest
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from infra.security.secrets import Secrets
from projections.engine import ReadModel
from projections.sessions import Sessions
from services.session import late_sessions
from services.session.late_sessions import LateSessions
from services.session.queries import Queries
from streams.log import Append
from tests.fix_postgres import Pool
from tests.integration.auth_and_session import Clock, Services, session_commands

ANNA, BORIS = new_id(), new_id()
PATIENCE = 60.0


async def create(services: Services, user_id: str) -> str:
    request = CreateSessionRequest(
        user_id=user_id, username="anna", device="a phone", address="192.0.2.1", credential=1
    )
    answer = await services.from_auth.call(
        services.session.create_session, request, context=Call(request_id="request", actor=user_id)
    )
    assert answer.tokens is not None
    return answer.tokens.session_id


async def erase(services: Services, user_id: str) -> None:
    erased = seal(UserErased(reason="requested"), aggregate_id=user_id, version=1, provenance=Provenance())
    await services.log.append(Append(subject=subjects.user(user_id), expected=0, envelope=erased))


async def end_of(services: Services, session_id: str) -> str | None:
    """The reason of the session's end."""
    last = await services.log.last(subjects.session(session_id))
    assert last is not None
    event = last.open().data
    return event.reason if isinstance(event, SessionRevoked) else None


async def test_a_session_that_begins_after_the_erasure_is_ended_by_the_sweep(
    services: Services, streams: NATS, secrets: Secrets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_sessions, "_EVERY", 0.05)
    await erase(services, ANNA)
    late, others = await create(services, ANNA), await create(services, BORIS)
    sweeping = LateSessions(session_commands(streams, secrets, clock), services.session_queries, clock=clock)
    task = asyncio.create_task(sweeping.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while await end_of(services, late) is None:
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert (await end_of(services, late), await end_of(services, others)) == ("account_erased", None)


async def test_replicas_that_find_the_same_session_end_it_once(
    services: Services, streams: NATS, secrets: Secrets, clock: Clock
) -> None:
    await erase(services, ANNA)
    late = await create(services, ANNA)
    replicas = [
        LateSessions(session_commands(streams, secrets, clock), services.session_queries, clock=clock) for _ in range(2)
    ]
    async with asyncio.timeout(PATIENCE):
        while not (due := await replicas[0].due()):
            await asyncio.sleep(0.02)
    assert [session.session_id for session in due] == [late]
    await asyncio.gather(*(replica.end(session) for replica in replicas for session in due))
    end = await services.log.last(subjects.session(late))
    assert end is not None
    assert (await end_of(services, late), end.envelope().version) == ("account_erased", 2)
    async with asyncio.timeout(PATIENCE):
        while await replicas[0].due():
            await asyncio.sleep(0.02)


async def test_they_are_found_by_an_index_however_many_sessions_and_erased_users_there_are(
    services: Services, pool: Pool
) -> None:
    plan: list[str] = []

    class Explained:
        async def select(
            self, row_type: type[object], sql: str, params: Mapping[str, object]
        ) -> tuple[list[object], Position]:
            for table, view in Sessions.reader_names().items():
                sql = sql.replace(f"{{{table}}}", view)
            async with pool.connection() as conn:
                cursor = await conn.execute(f"EXPLAIN {sql}".encode(), params)
                plan.extend(str(line) for (line,) in await cursor.fetchall())
            return [], Position()

    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await services.session_queries.of_erased_users(datetime.now(UTC))
                break
            except ReadModelBehind:
                await asyncio.sleep(0.02)
    sessions, erased = map(Sessions.view, ("sessions", "erased"))
    async with pool.connection() as conn:
        await conn.execute(
            f"INSERT INTO {erased} (user_id) SELECT gen_random_uuid() FROM generate_series(1, 5000)".encode()
        )
        # Those of erased users have ended, those of others have not.
        await conn.execute(
            f"""
            INSERT INTO {sessions} (session_id, user_id, username, expires_at, revoked_at, sequence)
            SELECT gen_random_uuid(), user_id, '', now() + interval '1 day', now(), 1
            FROM {erased}, generate_series(1, 4)
            UNION ALL
            SELECT gen_random_uuid(), gen_random_uuid(), 'anna', now() + interval '1 day', NULL, 1
            FROM generate_series(1, 20000)
            """.encode()
        )
        await conn.execute(b"ANALYZE")
    await Queries(cast(ReadModel, Explained())).of_erased_users(datetime.now(UTC))
    assert [line for line in plan if f"Seq Scan on {sessions}" in line] == []
    assert any("_user_id_idx" in line for line in plan), plan
