"""Auth and session together over real gRPC: registration, verification, login, as the gateway calls them."""

import asyncio
import time

import jwt
import pyotp
import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance, now
from contracts.errors import (
    EmailNotVerified,
    Forbidden,
    Invalid,
    InvalidCredentials,
    InvalidToken,
    PasswordRequired,
    TokenExpired,
    Unavailable,
    UserNotFound,
    VestnikError,
)
from contracts.events.message import MessageSent
from contracts.personal_data.key_ids import person_key, text_key
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceStub,
    EndRegistrationRequest,
    GetRegistrationRequest,
    GetUserRequest,
    LoginRequest,
    RegisterRequest,
    RegisterResponse,
    ResendVerificationRequest,
    User,
    VerifyEmailRequest,
)
from contracts.rpc.vestnik.session.v1 import Tokens
from contracts.subjects import DATA_KEYS
from contracts.values.ids import new_id
from contracts.values.personal_data import Sealed
from infra.personal_data.data_key_client import DataKeyClient
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.security.secrets import Secrets
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from streams.topology import ensure_bucket
from tests.integration.auth_and_session import PASSWORD, Services, stored
from tests.integration.authorized_client import ActingClient


async def register(services: Services, name: str = "anna", **changes: str) -> RegisterResponse:
    fields = {"email": f"{name.capitalize()}@example.org", "username": name, "password": PASSWORD} | changes
    return await services.to_auth.call(services.auth.register, RegisterRequest(**fields))


async def verify(services: Services, name: str = "anna") -> str:
    token = await services.auth_replica.token(f"{name}@example.org")
    answer = await services.to_auth.call(services.auth.verify_email, VerifyEmailRequest(token=token))
    return answer.position


async def log_in(services: Services, login: str, password: str = PASSWORD) -> Tokens:
    answer = await services.to_auth.call(
        services.auth.login,
        LoginRequest(login=login, password=password, device="phone", address="192.0.2.1"),
    )
    assert answer.tokens is not None
    return answer.tokens


async def get_user(services: Services, user_id: str, *, actor: str | None, position: str = "") -> User:
    call = Call(request_id="request", actor=actor, position=Position.decode(position))
    answer = await services.to_auth.call(services.auth.get_user, GetUserRequest(user_id=user_id), context=call)
    assert answer.user is not None
    return answer.user


async def test_register_verify_log_in_without_waiting_for_anything(services: Services) -> None:
    for name in ("anna", "boris", "clara"):
        registered = await register(services, name)
        assert registered.user is not None
        await verify(services, name)
        tokens = await log_in(services, f"{name.upper()}@EXAMPLE.org")
        assert tokens.user_id == registered.user.user_id
        assert (await log_in(services, name.capitalize())).session_id != tokens.session_id


async def test_a_login_that_is_repeated_creates_one_session(services: Services) -> None:
    await register(services)
    await verify(services)
    session_id = new_id()
    request = LoginRequest(login="anna", password=PASSWORD, device="phone", address="192.0.2.1", session_id=session_id)
    first, again = [(await services.to_auth.call(services.auth.login, request)).tokens for _ in range(2)]
    assert first is not None
    assert again is not None
    assert first.session_id == again.session_id == session_id
    assert (first.refresh_token, first.position) == (again.refresh_token, again.position)


async def test_an_access_token_can_be_checked_with_the_published_key(services: Services, secrets: Secrets) -> None:
    await register(services)
    await verify(services)
    tokens = await log_in(services, "anna")
    keys = jwt.PyJWKSet.from_json(secrets.jwks_path.read_text())
    claims = jwt.decode(
        tokens.access_token,
        keys[jwt.get_unverified_header(tokens.access_token)["kid"]],
        algorithms=["EdDSA"],
        audience="vestnik",
        issuer="https://chat.example.org",
    )
    assert (claims["sub"], claims["sid"]) == (tokens.user_id, tokens.session_id)


async def test_who_knows_the_password_hears_that_the_address_is_not_verified_and_nobody_else(
    services: Services,
) -> None:
    await register(services)
    with pytest.raises(EmailNotVerified) as refusal:
        await log_in(services, "anna")
    assert refusal.value.members == {"email": "Anna@example.org"}
    assert "@" not in refusal.value.detail
    with pytest.raises(InvalidCredentials) as wrong:
        await log_in(services, "anna", "wrong password")
    assert wrong.value.members == {}


async def test_whatever_is_wrong_with_a_login_the_answer_is_the_same(services: Services) -> None:
    await register(services)
    await verify(services)
    for login, password in (
        ("anna", "wrong password"),
        ("nobody", PASSWORD),
        ("nobody@example.org", PASSWORD),
        ("anna", "x" * 200),
        ("anna", "x"),
    ):
        with pytest.raises(InvalidCredentials) as refusal:
            await log_in(services, login, password)
        assert refusal.value.detail == InvalidCredentials().detail, (login, password)


async def test_an_invalid_registration_says_what_is_wrong(services: Services) -> None:
    for path, changes in (
        ("/email", {"email": "no address"}),
        ("/email", {"email": "a@x>,<y.org"}),
        ("/username", {"username": "ab"}),
        ("/username", {"username": "an na"}),
        ("/password", {"password": "short"}),
        ("/password", {"password": "é" * 513}),
        ("/password", {"password": "password1"}),
        ("/display_name", {"display_name": ""}),
    ):
        with pytest.raises(Invalid) as refusal:
            await register(services, **changes)
        assert refusal.value.violations[0].path == path, changes


async def test_a_taken_address_is_answered_like_a_fresh_one(services: Services) -> None:
    await register(services)
    await verify(services)
    taken = (await register(services, username="boris")).user
    fresh = (await register(services, "clara")).user
    assert taken is not None
    assert fresh is not None
    assert (taken.username, taken.email, taken.email_verified) == ("boris", "Anna@example.org", False)
    assert (fresh.username, fresh.email, fresh.email_verified) == ("clara", "Clara@example.org", False)
    for user in (taken, fresh):
        assert (await get_user(services, user.user_id, actor=user.user_id)).email == user.email
        with pytest.raises(UserNotFound):
            await get_user(services, user.user_id, actor=new_id())


async def test_a_registration_can_be_looked_at_and_ended_by_its_token(services: Services) -> None:
    await register(services)
    token = await services.auth_replica.token("anna@example.org")
    shown = await services.to_auth.call(services.auth.get_registration, GetRegistrationRequest(token=token))
    assert (shown.username, shown.verified, shown.needs_password) == ("anna", False, False)
    for _ in range(2):
        await services.to_auth.call(services.auth.end_registration, EndRegistrationRequest(token=token))
    with pytest.raises(TokenExpired):
        await services.to_auth.call(services.auth.get_registration, GetRegistrationRequest(token=token))
    with pytest.raises(InvalidToken):
        await services.to_auth.call(services.auth.get_registration, GetRegistrationRequest(token="garbage"))
    with pytest.raises(InvalidToken):
        await services.to_auth.call(services.auth.end_registration, EndRegistrationRequest(token="garbage"))


async def test_several_pending_registrations_ask_for_a_password_over_the_wire(services: Services) -> None:
    await register(services)
    await register(services, username="boris", password="another password")
    token = await services.auth_replica.token("anna@example.org")
    for password in (None, PASSWORD):
        with pytest.raises(PasswordRequired):
            await services.to_auth.call(services.auth.verify_email, VerifyEmailRequest(token=token, password=password))
    request = VerifyEmailRequest(token=token, password="another password")
    await services.to_auth.call(services.auth.verify_email, request)
    assert (await log_in(services, "anna@example.org", "another password")).user_id


async def test_garbage_is_no_verification_token(services: Services) -> None:
    with pytest.raises(InvalidToken):
        await services.to_auth.call(services.auth.verify_email, VerifyEmailRequest(token="garbage"))


async def test_resending_answers_the_same_for_every_address(services: Services, streams: NATS) -> None:
    await register(services)
    took: dict[str, float] = {}
    for email in ("anna@example.org", "nobody@example.org"):
        began = time.monotonic()
        await services.to_auth.call(services.auth.resend_verification, ResendVerificationRequest(email=email))
        took[email] = time.monotonic() - began
    assert min(took.values()) >= 0.05
    types = [event.type for event in await stored(streams, "AUTH")]
    assert types.count("email.verification_mail_requested") == 1


async def test_users_see_themselves_at_once_with_their_address(services: Services) -> None:
    registered = await register(services)
    assert registered.user is not None
    user_id = registered.user.user_id
    seen = await get_user(services, user_id, actor=user_id, position=registered.position)
    assert (seen.username, seen.email, seen.email_verified) == ("anna", "Anna@example.org", False)
    assert seen.created_at == registered.user.created_at
    position = await verify(services)
    assert (await get_user(services, user_id, actor=user_id, position=position)).email_verified


async def test_users_see_whether_their_second_factor_is_on_even_while_the_stream_is_away(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = await register(services)
    assert registered.user is not None
    user_id, factors = registered.user.user_id, services.auth_replica.second_factors
    provenance = Provenance(correlation_id="request", actor=user_id)
    await verify(services)
    begun = await factors.begin(user_id=user_id, password=PASSWORD, provenance=provenance)
    code = pyotp.TOTP(begun.secret).at(services.auth_replica.clock())
    confirmed = await factors.confirm(user_id=user_id, code=code, session_id=new_id(), provenance=provenance)
    seen = await get_user(services, user_id, actor=user_id, position=confirmed.position.encode())
    assert (seen.totp, seen.email) == (True, "Anna@example.org")
    assert not (await get_user(services, user_id, actor=new_id())).totp

    async def away(subject: str) -> None:
        raise Unavailable

    with monkeypatch.context() as broken:
        broken.setattr(services.auth_replica.aggregates.log, "last_stored", away)
        assert (await get_user(services, user_id, actor=user_id)).totp
    ended = await factors.end(
        user_id=user_id,
        password=PASSWORD,
        code=confirmed.recovery_codes[0],
        session_id=new_id(),
        provenance=provenance,
    )
    assert not (await get_user(services, user_id, actor=user_id, position=ended.encode())).totp


async def test_others_find_a_user_as_soon_as_it_is_verified_and_do_not_see_the_address(services: Services) -> None:
    for number in range(20):
        registered = await register(services, f"user{number}")
        assert registered.user is not None
        with pytest.raises(UserNotFound):
            await get_user(services, registered.user.user_id, actor=new_id())
        await verify(services, f"user{number}")
        seen = await get_user(services, registered.user.user_id, actor=new_id())
        assert (seen.username, seen.email) == (f"user{number}", "")


async def test_no_service_is_shown_an_address_but_the_gateway_for_the_address_s_owner(services: Services) -> None:
    registered = await register(services)
    assert registered.user is not None
    user_id = registered.user.user_id
    await verify(services)
    assert (await get_user(services, user_id, actor=user_id)).email == "Anna@example.org"
    contact = ActingClient("auth", me="contact", settings=services.settings, secrets=services.secrets)
    try:
        for actor in (None, user_id):
            call = Call(request_id="request", actor=actor)
            method = contact.stub(AuthServiceStub).get_user
            answer = await contact.call(method, GetUserRequest(user_id=user_id), context=call)
            assert answer.user is not None
            assert (answer.user.username, answer.user.email) == ("anna", "")
    finally:
        contact.close()


async def test_an_unknown_user_is_not_found(services: Services) -> None:
    for actor in (None, new_id()):
        with pytest.raises(UserNotFound):
            await get_user(services, new_id(), actor=actor)


async def test_many_registrations_at_once_over_grpc_let_one_through(services: Services, streams: NATS) -> None:
    answers = await asyncio.gather(*(register(services) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(answer, RegisterResponse) for answer in answers) == 1
    assert all(
        isinstance(answer, RegisterResponse) or (isinstance(answer, VestnikError) and answer.status == 409)
        for answer in answers
    )
    assert len(await stored(streams, "AUTH")) == 4


async def test_a_service_seals_with_keys_that_auth_creates_for_it_and_the_gateway_gets_none(
    services: Services, streams: NATS
) -> None:
    await ensure_bucket(streams, DATA_KEYS, replicas=1)
    registered = await register(services)
    assert registered.user is not None
    user_id, conversations = registered.user.user_id, [new_id() for _ in range(150)]
    store, master_keys = KeyStore(streams), services.auth_replica.master_keys
    messaging, gateway = (
        Client("auth", me=me, settings=services.settings, secrets=services.secrets) for me in ("messaging", "gateway")
    )
    try:
        sealer = Sealer(DataKeys(store, master_keys), DataKeyClient(messaging).create)
        sent = MessageSent(
            message_id=new_id(),
            sender_id=user_id,
            recipient_id=new_id(),
            sequence=1,
            text="hello",
            client_message_id=new_id(),
        )
        [sealed] = await sealer.seal([sent], aggregate_id=conversations[0], at=now())
        assert isinstance(sealed.text, Sealed)
        assert await Unsealer(DataKeys(store, master_keys)).unseal([sealed]) == [sent]
        # More than one call takes.
        ids = [text_key(conversation, user_id, now()) for conversation in conversations]
        await DataKeyClient(messaging).create(ids)
        assert (await store.find(ids)).keys() == set(ids)
        with pytest.raises(UserNotFound):
            await DataKeyClient(messaging).create([person_key(new_id())])
        with pytest.raises(Forbidden):
            await DataKeyClient(gateway).create([person_key(user_id)])
    finally:
        messaging.close()
        gateway.close()
