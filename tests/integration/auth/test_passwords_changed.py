"""Changes and resets of a password: what they end, and what stays valid."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import bcrypt
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance
from contracts.errors import (
    Forbidden,
    Invalid,
    InvalidCredentials,
    InvalidToken,
    Overloaded,
    RateLimited,
    TokenExpired,
    Unavailable,
)
from contracts.events.session import SessionRevoked
from contracts.events.user import CredentialRehashed, PasswordChanged, PasswordVoided
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import (
    ChangePasswordRequest,
    GetUserRequest,
    LoginRequest,
    RegisterRequest,
    RequestPasswordResetRequest,
    ResendVerificationRequest,
    ResetPasswordRequest,
    VerifyEmailRequest,
)
from contracts.rpc.vestnik.session.v1 import EndSessionsRequest, Tokens, ValidateSessionRequest
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.security.secrets import Secrets
from services.auth.clients import Sessions
from services.auth.passwords.hashing import Passwords, key_id
from services.auth.tokens.device_tokens import DeviceTokens
from tests.integration.auth_and_session import PASSWORD, Services, eventually, running, stored

NEW, COMMON = "another horse", "password1"
BY_NOBODY = Provenance(correlation_id="request")


@pytest_asyncio.fixture
async def services(streams: NATS, database_url: str, secrets: Secrets) -> AsyncIterator[Services]:
    async with running(streams, database_url, secrets) as made:
        yield made


@pytest_asyncio.fixture
async def anna(services: Services) -> str:
    """A registered and verified user; returns the id."""
    answer = await services.to_auth.call(
        services.auth.register, RegisterRequest(email="anna@example.org", username="anna", password=PASSWORD)
    )
    assert answer.user is not None
    token = await services.auth_replica.token("anna@example.org")
    await services.to_auth.call(services.auth.verify_email, VerifyEmailRequest(token=token))
    return answer.user.user_id


async def log_in(services: Services, password: str = PASSWORD) -> Tokens:
    answer = await services.to_auth.call(
        services.auth.login, LoginRequest(login="anna", password=password, device="phone", address="192.0.2.1")
    )
    assert answer.tokens is not None
    return answer.tokens


async def change(services: Services, tokens: Tokens, *, current: str = PASSWORD, new: str = NEW) -> str:
    answer = await services.to_auth.call(
        services.auth.change_password,
        ChangePasswordRequest(
            user_id=tokens.user_id, current_password=current, new_password=new, session_id=tokens.session_id
        ),
        context=Call(request_id="request", actor=tokens.user_id),
    )
    return answer.position


async def reset(services: Services, token: str, new: str = NEW) -> str:
    answer = await services.to_auth.call(
        services.auth.reset_password, ResetPasswordRequest(token=token, new_password=new)
    )
    return answer.position


async def active(services: Services, tokens: Tokens) -> bool:
    request = ValidateSessionRequest(session_id=tokens.session_id)
    return (await services.to_session.call(services.session.validate_session, request)).active


async def ends(services: Services, tokens: Tokens) -> list[tuple[str, str | None]]:
    """Why the session ended, and by whom."""
    events = [message.open() for message in await services.log.read(subjects.session(tokens.session_id))]
    return [(event.data.reason, event.actor) for event in events if isinstance(event.data, SessionRevoked)]


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

    async def create(
        self,
        *,
        user_id: str,
        username: str,
        device: str,
        address: str,
        credential: int,
        new_device: bool,
        second_factor: bool,
        session_id: str = "",
    ) -> Tokens:
        if self.before is not None:
            await self.before()
        tokens = await self._sessions.create(
            user_id=user_id,
            username=username,
            device=device,
            address=address,
            credential=credential,
            new_device=new_device,
            second_factor=second_factor,
            session_id=session_id,
        )
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
        user_id=anna, current=PASSWORD, new=NEW, session_id=here.session_id, provenance=BY_NOBODY
    )
    assert (changed.user_id, absent.asked) == (anna, 1)
    over = asyncio.Event()

    async def watch() -> None:
        while await active(services, other):
            await asyncio.sleep(0.02)
        over.set()

    watching = asyncio.create_task(watch())
    await eventually(over.is_set)
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


async def test_a_hash_of_a_lower_cost_is_brought_up_to_todays_with_a_login_and_ends_nothing(
    services: Services, anna: str, streams: NATS
) -> None:
    before = await log_in(services)
    reset_token = await services.auth_replica.reset_token("anna@example.org")
    auth, dearer = services.auth_replica, Passwords(5, services.secrets.password_key)
    try:
        login = auth.login(services.sessions, passwords=dearer)
        for _ in range(2):
            logged_in = await login.login(login="anna", password=PASSWORD, device="", address="192.0.2.1")
            assert await active(services, logged_in.tokens)
    finally:
        dearer.close()
    credential = (await auth.aggregates.credentials.load(anna)).state
    assert credential.hashed is not None
    assert credential.hashed.password_hash.startswith("$2b$05$")
    assert [event.type for event in await stored(streams, "AUTH")].count("credential.rehashed") == 1
    assert await active(services, before)
    # A setting that was lowered again does not weaken what is there.
    await log_in(services)
    assert (await auth.aggregates.credentials.load(anna)).state == credential
    await reset(services, reset_token)


async def test_a_hash_from_before_there_was_a_key_follows_at_the_next_login_and_ends_nothing(
    services: Services, anna: str, streams: NATS
) -> None:
    credentials = services.auth_replica.aggregates.credentials
    before = CredentialRehashed(
        password_hash=bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(), generation=1
    )
    await credentials.execute(anna, lambda _: (before,), Provenance())
    reset_token = await services.auth_replica.reset_token("anna@example.org")
    with pytest.raises(InvalidCredentials):
        await log_in(services, "wrong password")
    assert [event.type for event in await stored(streams, "AUTH")].count("credential.rehashed") == 1
    sessions = [await log_in(services) for _ in range(2)]
    found = (await credentials.load(anna)).state
    assert found.hashed is not None
    assert (found.hashed.scheme, found.generation) == ("bcrypt-hmac-sha384", 1)
    assert found.hashed.key_id == key_id(services.secrets.password_key)
    assert [event.type for event in await stored(streams, "AUTH")].count("credential.rehashed") == 2
    assert [await active(services, tokens) for tokens in sessions] == [True, True]
    await reset(services, reset_token)


async def test_a_password_that_is_guessed_first_is_refused_at_a_change_and_at_a_reset_and_never_at_a_login(
    services: Services, anna: str
) -> None:
    auth = services.auth_replica
    # Set before such passwords were refused.
    before = CredentialRehashed(password_hash=bcrypt.hashpw(COMMON.encode(), bcrypt.gensalt(4)).decode(), generation=1)
    await auth.aggregates.credentials.execute(anna, lambda _: (before,), Provenance())
    here = await log_in(services, COMMON)
    token = await auth.reset_token("anna@example.org")
    for weak in (COMMON.upper(), "I am Anna."):
        for attempt in (change(services, here, current=COMMON, new=weak), reset(services, token, weak)):
            with pytest.raises(Invalid) as refusal:
                await attempt
            (violation,) = refusal.value.violations
            assert (violation.path, violation.code) == ("/new_password", "weak_password")
    await reset(services, token)
    await log_in(services, NEW)


async def test_a_new_password_with_the_address_in_it_is_refused(services: Services, anna: str) -> None:
    auth, here = services.auth_replica, await log_in(services)

    async def somewhere(user_id: str) -> str:
        assert user_id == anna
        return "somebody@example.net"

    changes = auth.changes(services.sessions, somewhere)
    with pytest.raises(Invalid) as refusal:
        await changes.change(
            user_id=anna,
            current=PASSWORD,
            new="mail to Somebody@example.net",
            session_id=here.session_id,
            provenance=Provenance(),
        )
    assert refusal.value.violations[0].code == "weak_password"


async def test_the_address_that_a_new_password_must_not_contain_is_the_users_own(services: Services, anna: str) -> None:
    request = GetUserRequest(user_id=anna)
    known = await services.to_auth.call(services.auth.get_user, request, context=Call(request_id="r", actor=anna))
    assert known.user is not None
    assert await services.auth_queries.address_of(anna) == known.user.email == "anna@example.org"
    assert await services.auth_queries.address_of(new_id()) == ""


async def test_a_registration_with_a_password_that_is_guessed_first_is_refused(services: Services) -> None:
    for weak in (COMMON, "boris is my name", "mail to bb@example.org"):
        request = RegisterRequest(email="bb@example.org", username="boris", password=weak)
        with pytest.raises(Invalid) as refusal:
            await services.to_auth.call(services.auth.register, request)
        (violation,) = refusal.value.violations
        assert (violation.path, violation.code) == ("/password", "weak_password")


async def test_a_full_queue_of_passwords_refuses_and_leaves_the_rest_of_auth_quick(
    services: Services, anna: str
) -> None:
    auth = services.auth_replica
    slow = Passwords(9, services.secrets.password_key, workers=1, queue=8)
    login = auth.login(services.sessions, passwords=slow)

    async def flood() -> object:
        return await login.login(login="nobody", password="wrong password", device="", address="")

    flooding = [asyncio.create_task(flood()) for _ in range(30)]
    try:
        done, pending = await asyncio.wait(flooding, return_when=asyncio.FIRST_COMPLETED)
        refusals = [task.exception() for task in done]
        assert any(isinstance(error, Overloaded) and error.retry_after for error in refusals), refusals
        for _ in range(5):
            await services.to_auth.call(services.auth.get_user, GetUserRequest(user_id=anna))
        # All of that was answered while passwords were still waiting.
        assert any(not task.done() for task in pending)
    finally:
        await asyncio.wait(flooding)
        slow.close()


async def log_in_from(services: Services, token: str, *, password: str = PASSWORD, login: str = "anna") -> str:
    """Logs in while others have guessed too often; the device's token."""
    request = LoginRequest(
        login=login,
        password=password,
        device="phone",
        address="192.0.2.1",
        device_token=token,
        known_device_only=True,
    )
    return (await services.to_auth.call(services.auth.login, request)).device_token


async def device(services: Services) -> str:
    request = LoginRequest(login="anna", password=PASSWORD, device="phone", address="192.0.2.1")
    return (await services.to_auth.call(services.auth.login, request)).device_token


async def test_a_device_that_has_logged_in_does_so_whatever_others_have_tried(services: Services, anna: str) -> None:
    token = await device(services)
    for login in ("anna", "Anna@example.org"):
        assert await log_in_from(services, token, login=login) == token
    with pytest.raises(InvalidCredentials):
        await log_in_from(services, token, password="wrong password")


async def test_without_a_good_device_token_known_and_unknown_logins_are_refused_alike(
    services: Services, anna: str
) -> None:
    forged = DeviceTokens(b"f" * 32).make(anna, 1)
    of_nobody = services.auth_replica.devices.make(new_id(), 0)
    for login in ("anna", "anna@example.org", "nobody", "nobody@example.org"):
        for token in ("", "x", forged, of_nobody):
            with pytest.raises(RateLimited):
                await log_in_from(services, token, login=login)


async def test_a_change_of_the_password_voids_all_devices_but_the_one_that_made_it(
    services: Services, anna: str
) -> None:
    here, token = await log_in(services), await device(services)
    answer = await services.to_auth.call(
        services.auth.change_password,
        ChangePasswordRequest(user_id=anna, current_password=PASSWORD, new_password=NEW, session_id=here.session_id),
        context=Call(request_id="request", actor=anna),
    )
    with pytest.raises(RateLimited):
        await log_in_from(services, token, password=NEW)
    assert await log_in_from(services, answer.device_token, password=NEW) == answer.device_token


async def test_a_reset_voids_all_devices_but_the_one_that_made_it(services: Services, anna: str) -> None:
    token = await device(services)
    request = ResetPasswordRequest(token=await services.auth_replica.reset_token("anna@example.org"), new_password=NEW)
    answer = await services.to_auth.call(services.auth.reset_password, request)
    with pytest.raises(RateLimited):
        await log_in_from(services, token, password=NEW)
    assert await log_in_from(services, answer.device_token, password=NEW) == answer.device_token


async def test_resets_that_others_ask_for_take_nothing_from_the_owner(services: Services, anna: str) -> None:
    token = await device(services)
    first = await services.auth_replica.reset_token("anna@example.org")
    for _ in range(5):
        await services.to_auth.call(
            services.auth.request_password_reset, RequestPasswordResetRequest(email="anna@example.org")
        )
    assert await log_in_from(services, token) == token
    assert (await log_in(services)).user_id == anna
    await reset(services, first)
