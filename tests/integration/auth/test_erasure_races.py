"""An erasure and a login, a change of the password or of the address at the same moment have one order."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import nats as nats_py
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.errors import InvalidCredentials
from contracts.events.data_keys import DataKeysDestroyed
from contracts.events.user import UserErased, UserErasureCancelled, UserErasureRequested
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from infra.security.secrets import Secrets
from services.auth.domain import Hashed, decide_change_password, decide_rehash
from services.auth.erasure.decisions import ErasureTerms
from tests.integration.auth.accounts import NO_ACTOR, Account, account, log_in, request
from tests.integration.auth.erasure_requests import GRACE, REUSE, delete, erase, erasures, events
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import PASSWORD, Auth, Clock


@pytest_asyncio.fixture
async def late(nats_server: NatsServer, streams: NATS, secrets: Secrets) -> AsyncIterator[tuple[Auth, Clock]]:
    """A third replica, with a clock of its own."""
    nats, clock = await nats_py.connect(nats_server.url), Clock()
    auth = Auth(nats, secrets, clock)
    try:
        yield auth, clock
    finally:
        auth.passwords.close()
        await nats.close()


async def test_a_login_and_an_erasure_at_the_same_moment_have_one_order(
    replicas: tuple[Auth, Auth], late: tuple[Auth, Clock]
) -> None:
    one, other = replicas
    sweeping, clock = late
    clock.forward(GRACE)
    for number in range(12):
        anna = await account(one, f"anna{number}")
        await delete(other, anna)

        async def sweep(who: Account = anna, begins_after: float = number / 2_000) -> bool:
            # At another point of the login each time.
            await asyncio.sleep(begins_after)
            return await erase(sweeping, who)

        # The clocks differ: to one replica the time is over, to the other it is not.
        login, erased = await asyncio.gather(log_in(one, f"anna{number}"), sweep())
        happened = await events(other, anna.user_id)
        if login == anna.user_id:
            assert not erased
            assert happened == [UserErasureRequested, UserErasureCancelled]
        else:
            assert (login, erased) == ("invalid_credentials", True)
            assert happened == [UserErasureRequested, UserErased]
            assert await log_in(other, f"anna{number}") == "invalid_credentials"


async def test_a_login_whose_account_is_erased_while_its_session_begins_ends_that_session(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    ended = []

    class Ended(NoSessions):
        async def end(self, *, user_id: str, session_id: str, reason: str) -> None:
            ended.append((user_id, session_id, reason))

    sessions = Ended(lambda: erasures(other, anna).erase(anna.user_id, "operator", NO_ACTOR))
    with pytest.raises(InvalidCredentials):
        await one.login(sessions).login(login="anna", password=PASSWORD, device="", address="")
    assert ended == [(anna.user_id, "session", "account_erased")]


async def test_sweeps_of_two_replicas_erase_once(replicas: tuple[Auth, Auth], clock: Clock) -> None:
    people = [await account(replicas[0], f"user{number}") for number in range(5)]
    for who in people:
        await delete(replicas[0], who)
    clock.forward(GRACE)
    outcomes = await asyncio.gather(*(erase(auth, who) for who in people for auth in replicas for _ in range(3)))
    assert sum(outcomes) == len(people)
    for who in people:
        assert await events(replicas[1], who.user_id) == [UserErasureRequested, UserErased]
        ring = await replicas[0].aggregates.log.read(subjects.data_keys(who.user_id))
        assert sum(isinstance(message.open().data, DataKeysDestroyed) for message in ring) == 1


async def test_a_change_of_the_address_and_an_erasure_at_the_same_moment_leave_no_address_behind(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    for number in range(8):
        anna = await account(one, f"anna{number}")
        token = await request(one, anna, f"new{number}@example.org")
        await asyncio.gather(
            other.commands.verify_email(token, NO_ACTOR, password=PASSWORD),
            erasures(one, anna).erase(anna.user_id, "operator", NO_ACTOR),
            return_exceptions=True,
        )
        for email in (f"anna{number}@example.org", f"new{number}@example.org"):
            state = (await one.aggregates.addresses.load(one.keys.of_email(email))).state
            assert state.email is None
        assert (await events(one, anna.user_id))[-1] is UserErased


async def test_a_request_with_a_password_that_was_changed_meanwhile_does_not_count(
    replicas: tuple[Auth, Auth],
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    matches = one.passwords.matches

    async def slow(password: str, hashed: Hashed | None) -> bool:
        matched = await matches(password, hashed)
        await other.changes(NoSessions()).change(
            user_id=anna.user_id,
            current=PASSWORD,
            new="another horse",
            session_id=new_id(),
            provenance=NO_ACTOR,
        )
        return matched

    one.passwords.matches = slow  # type: ignore[method-assign]  # the moment in between
    with pytest.raises(InvalidCredentials):
        await delete(one, anna)
    assert UserErased not in await events(one, anna.user_id)
    assert (await one.aggregates.users.load(anna.user_id)).state.erase_at is None


async def test_a_password_that_is_hashed_anew_at_that_moment_stays_right(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    matches = one.passwords.matches

    async def slow(password: str, hashed: Hashed | None) -> bool:
        matched = await matches(password, hashed)
        rehashed = await other.passwords.hash(PASSWORD)
        await other.aggregates.credentials.execute(
            anna.user_id, lambda state: decide_rehash(state, state, rehashed), NO_ACTOR
        )
        return matched

    one.passwords.matches = slow  # type: ignore[method-assign]  # the moment in between
    await delete(one, anna)
    assert await events(one, anna.user_id) == [UserErasureRequested]


@pytest.mark.parametrize("grace", [timedelta(), GRACE])
async def test_a_request_that_does_not_count_leaves_an_earlier_one_and_is_cancelled_even_if_it_is_due(
    replicas: tuple[Auth, Auth], grace: timedelta
) -> None:
    one, other = replicas
    terms = ErasureTerms(grace=grace, name_reuse=REUSE)
    anna, boris = await account(one, "anna"), await account(one, "boris")
    await delete(other, boris)
    matches, asking = one.passwords.matches, anna

    async def slow(password: str, hashed: Hashed | None) -> bool:
        matched = await matches(password, hashed)
        rehashed = await other.passwords.hash("another horse")
        await other.aggregates.credentials.execute(
            asking.user_id, lambda state: decide_change_password(state, state.generation, rehashed, ""), NO_ACTOR
        )
        return matched

    one.passwords.matches = slow  # type: ignore[method-assign]  # the moment in between
    with pytest.raises(InvalidCredentials):
        await delete(one, anna, terms=terms)
    assert await events(one, anna.user_id) == [UserErasureRequested, UserErasureCancelled]
    asking = boris
    with pytest.raises(InvalidCredentials):
        await delete(one, boris, terms=terms)
    assert await events(one, boris.user_id) == [UserErasureRequested]
