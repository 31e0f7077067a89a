"""Session over real gRPC: tokens, lists, ends of sessions, and the backfill for clients."""

import asyncio

import msgspec
import psycopg
import pytest

from contracts import envelope
from contracts.errors import Invalid, RefreshTokenReused, SessionNotFound
from contracts.notification_kinds import ALERTS_AN_HOUR
from contracts.positions import Position
from contracts.rpc.vestnik.session.v1 import (
    BackfillRequest,
    ClientEvent,
    CreateSessionRequest,
    ListSessionsRequest,
    ListSessionsResponse,
    RecordAlertRequest,
    RecordAlertResponse,
    RefreshSessionRequest,
    RevokeSessionRequest,
    RevokeSessionResponse,
    SessionServiceStub,
    Tokens,
    ValidateSessionRequest,
)
from contracts.values.ids import new_id
from contracts.values.timestamps import to_unix_ms
from infra.rpc.call_context import Call
from tests.integration.auth_and_session import Services, alerts_about

ANNA = new_id()


async def create(services: Services, device: str = "phone", user_id: str = ANNA) -> Tokens:
    answer = await services.to_session.call(
        services.session.create_session,
        CreateSessionRequest(user_id=user_id, username="anna", device=device, address="192.0.2.1"),
    )
    assert answer.tokens is not None
    return answer.tokens


async def refresh(services: Services, token: str) -> Tokens:
    answer = await services.to_session.call(
        services.session.refresh_session, RefreshSessionRequest(refresh_token=token)
    )
    assert answer.tokens is not None
    return answer.tokens


async def listed(services: Services, position: str, *, limit: int = 0, cursor: str = "") -> ListSessionsResponse:
    return await services.to_session.call(
        services.session.list_sessions,
        ListSessionsRequest(user_id=ANNA, limit=limit, cursor=cursor),
        context=Call(request_id="request", actor=ANNA, position=Position.decode(position)),
    )


async def revoke(services: Services, request: RevokeSessionRequest) -> RevokeSessionResponse:
    return await services.to_session.call(services.session.revoke_session, request)


async def active(services: Services, session_id: str) -> bool:
    answer = await services.to_session.call(
        services.session.validate_session, ValidateSessionRequest(session_id=session_id)
    )
    return answer.active


async def ends_since(services: Services, position: str, after: int) -> list[ClientEvent]:
    call = Call(request_id="request", actor=ANNA, position=Position.decode(position))
    request = BackfillRequest(user_id=ANNA, after=after)
    stream = services.to_session.stream(services.session.backfill, request, context=call)
    return [event async for event in stream]


async def test_a_list_shows_the_newest_session_first_page_by_page(services: Services) -> None:
    created = [await create(services, f"device {number}") for number in range(5)]
    await create(services, user_id=new_id())
    position, cursor, seen = created[-1].position, "", []
    while True:
        page = await listed(services, position, limit=2, cursor=cursor)
        assert len(page.sessions) <= 2
        seen += page.sessions
        cursor = page.next
        if not cursor:
            break
    assert [session.session_id for session in seen] == [tokens.session_id for tokens in reversed(created)]
    assert (seen[0].device, seen[0].address) == ("device 4", "192.0.2.1")


async def test_a_refresh_shows_in_the_list(services: Services) -> None:
    tokens = await create(services)
    refreshed = await refresh(services, tokens.refresh_token)
    (session,) = (await listed(services, refreshed.position)).sessions
    assert session.last_refreshed_at >= session.created_at > 0


async def test_a_cursor_of_something_else_is_invalid(services: Services) -> None:
    with pytest.raises(Invalid):
        await listed(services, "", cursor="garbage")


async def test_an_ended_session_leaves_the_list_and_is_no_longer_active(services: Services) -> None:
    kept, ended = await create(services), await create(services)
    answer = await revoke(services, RevokeSessionRequest(user_id=ANNA, session_id=ended.session_id))
    assert answer.revoked == 1
    assert not await active(services, ended.session_id)
    assert await active(services, kept.session_id)
    sessions = (await listed(services, answer.position)).sessions
    assert [session.session_id for session in sessions] == [kept.session_id]
    with pytest.raises(SessionNotFound):
        await revoke(services, RevokeSessionRequest(user_id=ANNA, session_id=ended.session_id))


async def test_another_users_session_is_not_found(services: Services) -> None:
    tokens = await create(services)
    with pytest.raises(SessionNotFound):
        await revoke(services, RevokeSessionRequest(user_id=new_id(), session_id=tokens.session_id))


async def test_an_unknown_session_is_not_active(services: Services) -> None:
    assert not await active(services, new_id())


async def test_all_the_others_end_even_those_that_have_just_begun(services: Services) -> None:
    others = await asyncio.gather(*(create(services, f"device {number}") for number in range(30)))
    kept = await create(services)
    stranger = await create(services, user_id=new_id())
    answer = await revoke(services, RevokeSessionRequest(user_id=ANNA, all_but_session_id=kept.session_id))
    assert answer.revoked == 30
    assert not any([await active(services, tokens.session_id) for tokens in others])
    assert await active(services, kept.session_id)
    assert await active(services, stranger.session_id)
    again = await revoke(services, RevokeSessionRequest(user_id=ANNA, all_but_session_id=kept.session_id))
    # Nothing was written: no position, lest a gateway remembers what a client only claims to have seen.
    assert (again.revoked, again.position) == (0, "")


async def test_a_revocation_without_a_target_is_invalid(services: Services) -> None:
    with pytest.raises(Invalid):
        await revoke(services, RevokeSessionRequest(user_id=ANNA))


async def test_a_client_that_was_away_hears_which_sessions_ended_and_why(services: Services) -> None:
    first, second = await create(services), await create(services)
    one = await revoke(services, RevokeSessionRequest(user_id=ANNA, session_id=first.session_id, reason="logout"))
    successor = await refresh(services, second.refresh_token)
    await refresh(services, successor.refresh_token)
    with pytest.raises(RefreshTokenReused):
        await refresh(services, second.refresh_token)
    end = Position.at("SESSION", await services.log.end_of("SESSION")).encode()
    missed_ends = await ends_since(services, end, 0)
    assert [msgspec.json.decode(event.data) for event in missed_ends] == [
        {"session_id": first.session_id, "reason": "logout"},
        {"session_id": second.session_id, "reason": "refresh_token_reused"},
    ]
    assert {event.type for event in missed_ends} == {"session.revoked"}
    later = await ends_since(services, end, Position.decode(one.position).sequence("SESSION"))
    assert [event.sequence for event in later] == [missed_ends[1].sequence]


async def test_the_audit_has_every_event_of_a_session(services: Services, database_url: str) -> None:
    tokens = await create(services)
    await refresh(services, tokens.refresh_token)
    ended = await revoke(services, RevokeSessionRequest(user_id=ANNA, session_id=tokens.session_id, reason="logout"))
    await listed(services, ended.position)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        async with asyncio.timeout(60):
            rows: list[tuple[object, ...]] = []
            while len(rows) < 3:
                cursor = await connection.execute(
                    "SELECT event, username, device, address, reason"
                    " FROM session_audit_v6 AS a JOIN session_audit_logins_v6 USING (session_id) ORDER BY a.sequence"
                )
                rows = await cursor.fetchall()
    assert rows == [
        ("session.created", "anna", "phone", "192.0.2.1", None),
        ("session.refreshed", "anna", "phone", "192.0.2.1", None),
        ("session.revoked", "anna", "phone", "192.0.2.1", "logout"),
    ]


async def alert(
    services: Services, user_id: str, about: str, tokens: Tokens | None = None, kind: str = "new_device", at: int = 0
) -> RecordAlertResponse:
    position = Position() if tokens is None else Position.decode(tokens.position)
    return await services.from_auth.call(
        services.from_auth.stub(SessionServiceStub).record_alert,
        RecordAlertRequest(
            user_id=user_id,
            kind=kind,
            about=about,
            about_at=at or to_unix_ms(envelope.now()),
            session_id="" if tokens is None else tokens.session_id,
        ),
        context=Call(request_id="request", actor=user_id, position=position),
    )


async def test_an_alert_is_recorded_once_and_never_for_the_first_login_of_an_account(services: Services) -> None:
    user_id, about = new_id(), new_id()
    first, second = await create(services, user_id=user_id), await create(services, user_id=user_id)
    assert not (await alert(services, user_id, new_id(), first)).due
    answers = await asyncio.gather(*(alert(services, user_id, about, second) for _ in range(5)))
    assert {(answer.due, answer.wait_seconds) for answer in answers} == {(True, 0)}
    (event,) = await alerts_about(services, user_id)
    assert (event.kind, event.about, event.session_id) == ("new_device", about, second.session_id)


async def test_a_flood_of_alerts_is_bounded_and_the_next_ones_wait(services: Services) -> None:
    user_id = new_id()
    for _ in range(ALERTS_AN_HOUR):
        assert (await alert(services, user_id, new_id(), kind="password_changed")).wait_seconds == 0
    later = to_unix_ms(envelope.now()) + 60_000
    assert 0 < (await alert(services, user_id, new_id(), kind="password_changed", at=later)).wait_seconds <= 3600
    assert len(await alerts_about(services, user_id)) == ALERTS_AN_HOUR


async def test_an_old_event_and_an_unknown_kind_are_not_recorded(services: Services) -> None:
    user_id = new_id()
    last_week = to_unix_ms(envelope.now()) - 7 * 86_400_000
    assert not (await alert(services, user_id, new_id(), kind="password_reset", at=last_week)).due
    with pytest.raises(Invalid):
        await alert(services, user_id, new_id(), kind="made_up")
    assert await alerts_about(services, user_id) == []
