"""Sessions that end by a password change or by expiry, over real gRPC."""

from datetime import timedelta

import pytest
from nats.aio.client import Client as NATS

from contracts import envelope
from contracts.errors import SessionNotFound
from contracts.positions import Position
from contracts.rpc.vestnik.session.v1 import (
    CreateSessionRequest,
    EndSessionsRequest,
    ListHistoryRequest,
    PastSession,
    RevokeSessionRequest,
    Tokens,
)
from contracts.subjects import session
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from streams.log import Log
from tests.integration.auth_and_session import DAY, Services, active

ANNA = new_id()
BY_ANNA = Call(request_id="request", actor=ANNA)


async def create(services: Services, device: str = "phone", credential: int = 1) -> Tokens:
    request = CreateSessionRequest(
        user_id=ANNA, username="anna", device=device, address="192.0.2.1", credential=credential
    )
    answer = await services.from_auth.call(services.session.create_session, request, context=BY_ANNA)
    assert answer.tokens is not None
    return answer.tokens


async def test_a_request_that_is_made_again_finds_the_end_that_it_has_caused(services: Services) -> None:
    ended = await create(services)
    request = RevokeSessionRequest(user_id=ANNA, session_id=ended.session_id, reason="logout")
    # As by a gateway whose first attempt was done, and its answer lost.
    first, again = [
        await services.to_session.call(services.session.revoke_session, request, context=BY_ANNA) for _ in range(2)
    ]
    assert again == first
    with pytest.raises(SessionNotFound):
        await services.to_session.call(
            services.session.revoke_session, request, context=Call(request_id="another", actor=ANNA)
        )


async def test_a_session_that_ran_out_has_ended_in_the_history_when_its_last_event_said(services: Services) -> None:
    ended, left = await create(services, "phone"), await create(services, "tablet")
    request = RevokeSessionRequest(user_id=ANNA, session_id=ended.session_id, reason="logout")
    answer = await services.to_session.call(services.session.revoke_session, request, context=BY_ANNA)
    position, later = Position.decode(answer.position), envelope.now() + 31 * DAY
    page = await services.session_queries.history(ANNA, limit=10, cursor="", now=later, position=position)
    assert [(row.session_id, row.reason) for row in page.sessions] == [
        (left.session_id, "expired"),
        (ended.session_id, "logout"),
    ]
    first = page.sessions[0]
    assert first.ended_at is not None
    # The end was computed a moment before the event got its time.
    assert timedelta(0) <= first.last_refreshed_at + timedelta(days=30) - first.ended_at < timedelta(seconds=5)
    assert (first.device, first.address) == ("tablet", "192.0.2.1")
    # At present it goes on.
    call = Call(request_id="request", actor=ANNA, position=position)
    history = await services.to_session.call(
        services.session.list_history, ListHistoryRequest(user_id=ANNA, limit=1), context=call
    )
    (now,) = history.sessions
    assert (now.session_id, now.ended_at, now.reason, bool(history.next)) == (left.session_id, None, "", True)
    assert history.newer is None
    request_further = ListHistoryRequest(user_id=ANNA, limit=1, cursor=history.next)
    further = await services.to_session.call(services.session.list_history, request_further, context=call)
    assert [one.session_id for one in further.sessions] == [ended.session_id]
    assert further.newer == PastSession(
        session_id=now.session_id, device="tablet", address="192.0.2.1", created_at=now.created_at
    )


async def test_sessions_that_an_older_credential_opened_end_and_no_others(services: Services) -> None:
    old, oldest, kept, new = [await create(services, credential=number) for number in (1, 0, 1, 2)]
    request = EndSessionsRequest(
        user_id=ANNA, kept_session_id=kept.session_id, below_credential=2, reason="password_changed"
    )
    first = await services.from_auth.call(services.session.end_sessions, request, context=BY_ANNA)
    assert set(first.ended) == {old.session_id, oldest.session_id}
    again = await services.from_auth.call(services.session.end_sessions, request, context=BY_ANNA)
    assert list(again.ended) == []
    # Whoever ended them: what is read from there on shows it.
    assert Position.decode(again.position).sequence("SESSION") >= Position.decode(first.position).sequence("SESSION")
    assert [await active(services, tokens) for tokens in (old, oldest, kept, new)] == [False, False, True, True]


async def test_an_operator_may_be_named_by_several_words(services: Services, streams: NATS) -> None:
    await create(services)
    request = EndSessionsRequest(user_id=ANNA, reason="operator", note="stolen phone", operator="Olga Brown")
    (ended,) = (await services.from_operator.call(services.session.end_sessions, request)).ended
    last = await Log(streams).last(session(ended))
    assert last is not None
    assert last.envelope().actor == "operator:Olga Brown"
