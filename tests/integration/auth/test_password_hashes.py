"""Hashes of passwords: brought up to today's cost and key at a login; weak passwords and a full queue are refused."""

import asyncio

import bcrypt
import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance
from contracts.errors import Invalid, InvalidCredentials, Overloaded
from contracts.events.user import CredentialRehashed
from contracts.rpc.vestnik.auth.v1 import GetUserRequest, RegisterRequest
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from services.auth.passwords.hashing import Passwords, key_id
from tests.integration.auth.password_calls import COMMON, NEW, change, log_in, reset
from tests.integration.auth_and_session import PASSWORD, Services, active, stored


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
    stored_credential = (await credentials.load(anna)).state
    assert stored_credential.hashed is not None
    assert (stored_credential.hashed.scheme, stored_credential.generation) == ("bcrypt-hmac-sha384", 1)
    assert stored_credential.hashed.key_id == key_id(services.secrets.password_key)
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
