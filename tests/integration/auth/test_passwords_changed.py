"""Changes and resets of a password: what they end, and what stays valid."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance
from contracts.errors import Forbidden, Invalid, InvalidCredentials, InvalidToken, TokenExpired, Unavailable
from contracts.events.user import PasswordChanged, PasswordVoided
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import RegisterRequest, RequestPasswordResetRequest, ResendVerificationRequest
from contracts.rpc.vestnik.session.v1 import EndSessionsRequest, Tokens
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from services.auth.clients import Sessions
from tests.conditions import until
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth.password_calls import NEW, change, ends, log_in, reset
from tests.integration.auth_and_session import PASSWORD, Services, active, stored


async def test_a_change_ends_all_other_sessions_and_the_old_password(services: Services, anna: str) -> None:
    here, *others = [await log_in(services) for _ in range(4)]
    position = Position.decode(await change(services, here))
    assert set(position.sequences) == {"AUTH", "SESSION"}
    assert await active(services, here)
    for other in others:
        assert await ends(services, other) == [("password_changed", anna)]
    with pytest.raises(InvalidCredentials):
        await log_in(services)
    assert (await log_in(services, NEW)).user_id == anna


async def test_who_does_not_know_the_password_changes_nothing(services: Services, anna: str) -> None:
    here, other = await log_in(services), await log_in(services)
    with pytest.raises(InvalidCredentials):
        await change(services, here, current="wrong password")
    with pytest.raises(Invalid) as refusal:
        await change(services, here, new="short")
    assert refusal.value.violations[0].path == "/new_password"
    assert await active(services, other)
    assert (await log_in(services)).user_id == anna


async def test_of_two_changes_at_once_one_counts(services: Services, anna: str) -> None:
    one, other = await log_in(services), await log_in(services)
    news = ("first horse 1", "second horse 2")
    answers = await asyncio.gather(
        change(services, one, new=news[0]), change(services, other, new=news[1]), return_exceptions=True
    )
    assert sum(isinstance(answer, InvalidCredentials) for answer in answers) == 1, answers
    good = news[[isinstance(answer, str) for answer in answers].index(True)]
    await log_in(services, good)
    assert [await active(services, tokens) for tokens in (one, other)].count(True) == 1


async def test_the_session_kept_by_one_change_ends_with_the_next_that_is_not_its_own(
    services: Services, anna: str
) -> None:
    first = await log_in(services)
    await change(services, first)
    second = await log_in(services, NEW)
    await change(services, second, current=NEW, new="third horse 3")
    assert not await active(services, first)
    assert await active(services, second)


async def test_a_reset_ends_every_session_and_its_token_is_good_once(services: Services, anna: str) -> None:
    sessions = [await log_in(services) for _ in range(3)]
    token = await services.auth_replica.reset_token("anna@example.org")
    await reset(services, token)
    for tokens in sessions:
        assert await ends(services, tokens) == [("password_reset", anna)]
    with pytest.raises(TokenExpired):
        await reset(services, token, "yet another horse")
    assert await active(services, await log_in(services, NEW))


async def test_of_two_uses_of_a_token_at_once_one_counts(services: Services, anna: str) -> None:
    token = await services.auth_replica.reset_token("anna@example.org")
    news = [f"horse number {number}" for number in range(4)]
    answers = await asyncio.gather(*(reset(services, token, new) for new in news), return_exceptions=True)
    assert sum(isinstance(answer, TokenExpired) for answer in answers) == 3, answers
    await log_in(services, news[[isinstance(answer, str) for answer in answers].index(True)])


async def test_a_change_of_the_password_spends_the_tokens_that_are_out(services: Services, anna: str) -> None:
    token = await services.auth_replica.reset_token("anna@example.org")
    await change(services, await log_in(services))
    with pytest.raises(TokenExpired):
        await reset(services, token)


async def test_a_token_runs_out_and_one_of_other_hands_or_for_another_purpose_is_none(
    services: Services, anna: str
) -> None:
    auth = services.auth_replica
    late = await auth.reset_token("anna@example.org", expires_at=auth.clock() - timedelta(seconds=1))
    with pytest.raises(TokenExpired):
        await reset(services, late)
    good = await auth.reset_token("anna@example.org")
    await services.to_auth.call(
        services.auth.register, RegisterRequest(email="new@example.org", username="new", password=PASSWORD)
    )
    for wrong in ("garbage", good[:-4] + "AAAA", good + "AAAA", await auth.token("new@example.org")):
        with pytest.raises(InvalidToken):
            await reset(services, wrong)
    with pytest.raises(Invalid):
        await reset(services, good, "short")
    await reset(services, good)


async def test_a_mail_is_asked_for_once_a_minute_and_only_where_the_address_was_verified(
    services: Services, anna: str, streams: NATS
) -> None:
    await services.to_auth.call(
        services.auth.register, RegisterRequest(email="new@example.org", username="new", password=PASSWORD)
    )
    for email in ("ANNA@example.org", "anna@example.org", "new@example.org", "nobody@example.org"):
        await services.to_auth.call(services.auth.request_password_reset, RequestPasswordResetRequest(email=email))
    assert [event.type for event in await stored(streams, "AUTH")].count("password.reset_requested") == 1


async def test_asking_for_a_mail_stores_one_event_whatever_the_address_so_that_it_takes_the_same_time(
    services: Services, anna: str, streams: NATS
) -> None:
    """The wait and the outcome of a failure are also the same, however slow the streams."""
    await services.to_auth.call(
        services.auth.register, RegisterRequest(email="new@example.org", username="new", password=PASSWORD)
    )
    addresses = ("anna@example.org", "anna@example.org", "new@example.org", "nobody@example.org")
    before = len(await stored(streams, "AUTH"))
    for email in addresses:
        await services.to_auth.call(services.auth.request_password_reset, RequestPasswordResetRequest(email=email))
    for email in addresses:
        await services.to_auth.call(services.auth.resend_verification, ResendVerificationRequest(email=email))
    kinds = [event.type for event in (await stored(streams, "AUTH"))[before:] if event.type != "mail.sent"]
    asked, none = "password.reset_requested", "mail.not_due"
    assert kinds == [asked, none, none, none, none, none, "email.verification_mail_requested", none]


class Interrupted(Sessions):
    """Lets something happen just before or just after a session begins."""

    def __init__(self, services: Services, before: Callable[[], Awaitable[object]] | None = None) -> None:
        self._sessions = services.sessions
        self.before = before
        self.after: Callable[[], Awaitable[object]] | None = None
        self.created: list[Tokens] = []

    async def create(self, **of: Any) -> Tokens:  # noqa: ANN401 - passed on as they come
        if self.before is not None:
            await self.before()
        tokens = await self._sessions.create(**of)
        self.created.append(tokens)
        if self.after is not None:
            await self.after()
        return tokens

    async def end(self, *, user_id: str, session_id: str, reason: str) -> None:
        await self._sessions.end(user_id=user_id, session_id=session_id, reason=reason)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_login_that_races_a_change_of_the_password_ends_revoked(
    services: Services, anna: str, moment: str
) -> None:
    """The password was checked; before its session begins, or before it is answered, the password is another."""
    here = await log_in(services)
    sessions = Interrupted(services)
    setattr(sessions, moment, lambda: change(services, here))
    auth = services.auth_replica
    login = auth.login(sessions)
    with pytest.raises(InvalidCredentials):
        await login.login(login="anna", password=PASSWORD, device="thief", address="198.51.100.7")
    (created,) = sessions.created
    assert not await active(services, created)
    assert [reason for reason, _ in await ends(services, created)] == ["password_changed"]
    assert await active(services, here)


async def test_logins_during_a_change_of_the_password_leave_no_session_of_the_old_one(
    services: Services, anna: str
) -> None:
    here = await log_in(services)
    logins = [asyncio.create_task(log_in(services)) for _ in range(12)]
    await change(services, here)
    answers = await asyncio.gather(*logins, return_exceptions=True)
    assert all(isinstance(answer, Tokens | InvalidCredentials) for answer in answers), answers
    began = [answer for answer in answers if isinstance(answer, Tokens)]
    assert not any([await active(services, tokens) for tokens in began])
    assert await active(services, here)


class Absent(Sessions):
    """The session service, down."""

    def __init__(self) -> None:
        self.asked = 0

    async def end_older(
        self, *, user_id: str, event: PasswordChanged | PasswordVoided, provenance: Provenance
    ) -> Position:
        self.asked += 1
        raise Unavailable


async def test_sessions_end_even_if_no_service_was_reachable_when_the_password_changed(
    services: Services, anna: str
) -> None:
    here, other = await log_in(services), await log_in(services)
    absent = Absent()
    changed = await services.auth_replica.changes(absent).change(
        user_id=anna, current=PASSWORD, new=NEW, session_id=here.session_id, provenance=NO_ACTOR
    )
    assert (changed.user_id, absent.asked) == (anna, 1)
    over = asyncio.Event()

    async def watch() -> None:
        while await active(services, other):
            await asyncio.sleep(0.02)
        over.set()

    watching = asyncio.create_task(watch())
    await until(over.is_set)
    await watching
    assert await ends(services, other) == [("password_changed", anna)]
    assert await active(services, here)


async def test_nobody_but_auth_and_the_operator_ends_the_sessions_of_others(services: Services, anna: str) -> None:
    request = EndSessionsRequest(user_id=anna, reason="password_changed")
    for service in ("gateway", "profile", "messaging"):
        client = Client("session", me=service, settings=services.settings, secrets=services.secrets)
        try:
            with pytest.raises(Forbidden):
                await client.call(services.session.end_sessions, request, context=Call(request_id="r", actor=anna))
        finally:
            client.close()
