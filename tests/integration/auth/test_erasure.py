"""The erasure of an account, with any replica: what it ends, what cancels it, and when it is complete."""

import asyncio
from datetime import datetime, timedelta

import msgspec
import pytest
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance
from contracts.errors import InvalidCredentials, LegalHold, TokenExpired, Unavailable, UserNotFound, VestnikError
from contracts.events.data_keys import DataKeysDestroyed, DataKeysHoldPlaced, DataKeysHoldReleased
from contracts.events.user import (
    EmailReleased,
    PasswordVoided,
    UserErased,
    UserErasureCancelled,
    UserErasureCompleted,
    UserErasureRequested,
    UsernameClaimed,
)
from contracts.personal_data.key_ids import person_key
from contracts.positions import Position
from contracts.values.ids import new_id
from services.auth.alerts.not_me import NotMeReports
from services.auth.domain import evolve_user
from services.auth.email_change.decisions import HELD
from services.auth.erasure.decisions import ErasureTerms
from services.auth.erasure.process import ErasureProcess
from services.auth.erasure.queries import DueErasure
from services.auth.erasure.removal import Removal
from services.auth.tokens.email_verification import Verification
from services.auth.tokens.not_me import NotMe
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.destruction import KeyDestruction
from streams.topology import ensure_bucket
from tests.integration.auth.accounts import (
    NO_ACTOR,
    Account,
    account,
    change,
    log_in,
    register,
    request,
    undo,
    undo_token,
)
from tests.integration.auth.erasure_requests import GRACE, REUSE, delete, erase, erasures, events, last
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import DAY, HOUR, PASSWORD, Auth, Clock


class Removals(Removal):
    """Counts the users whose remaining data is removed; its first calls fail."""

    def __init__(self, failures: int = 0) -> None:
        self.of: list[str] = []
        self._failures = failures

    async def remove(self, user_id: str, provenance: Provenance) -> None:
        if self._failures:
            self._failures -= 1
            raise Unavailable
        self.of.append(user_id)


async def test_a_request_needs_the_password_and_is_answered_the_same_when_it_is_repeated(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    with pytest.raises(InvalidCredentials):
        await delete(one, anna, "wrong")
    assert await events(one, anna.user_id) == []
    await one.failures.flush(final=True)
    assert (await one.aggregates.login_failures.load(anna.user_id)).version == 1
    first, second = await asyncio.gather(delete(one, anna), delete(other, anna))
    clock.forward(DAY)
    assert first == second == await delete(other, anna)
    assert abs(first - clock() - GRACE + DAY) < timedelta(minutes=5)
    assert await events(one, anna.user_id) == [UserErasureRequested]


async def test_a_login_cancels_it_until_it_is_due_and_then_it_is_that_of_an_unknown_account(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await delete(one, anna)
    assert not await erase(other, anna)
    assert await log_in(other, "anna", "wrong") == "invalid_credentials"
    clock.forward(GRACE - HOUR)
    assert await log_in(other, "anna@example.org") == anna.user_id
    assert await events(one, anna.user_id) == [UserErasureRequested, UserErasureCancelled]
    clock.forward(HOUR)
    assert not await erase(one, anna)
    await delete(other, anna)
    clock.forward(GRACE)
    for auth in replicas:
        assert await log_in(auth, "anna") == "invalid_credentials"
    assert await erase(one, anna)
    assert not await erase(other, anna)
    for auth in replicas:
        for login in ("anna", "anna@example.org"):
            assert await log_in(auth, login) == "invalid_credentials"
    assert (await events(one, anna.user_id))[2:] == [UserErasureRequested, UserErased]


async def test_the_batch_ends_keys_name_and_every_address_of_the_account(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(other, anna, "new@example.org")
    await delete(one, anna)
    clock.forward(HELD - DAY)
    await delete(one, anna)
    # The read model still has the first address.
    erased = await erasures(other, anna).erase(anna.user_id, "operator", NO_ACTOR)
    assert erased.erased
    assert await last(one, subjects.data_keys(anna.user_id)) == DataKeysDestroyed(reason="erasure")
    claimed = await last(one, subjects.username_claim(one.keys.of_username("anna")))
    assert claimed == UsernameClaimed(user_id=anna.user_id, expires_at=erased.free_at)
    for email in ("anna@example.org", "new@example.org"):
        released = await last(one, subjects.email_claim(one.keys.of_email(email)))
        assert isinstance(released, EmailReleased)
        assert (released.email, released.username) == (None, "")
        assert (released.address.owner, released.address.owner_until) == (anna.user_id, erased.free_at)
        assert (released.address.email, released.address.username) == (None, "")


async def test_name_and_address_are_free_after_their_time_and_one_of_two_gets_the_name(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await erasures(one, anna).erase(anna.user_id, "operator", NO_ACTOR)
    clock.forward(REUSE - HOUR)
    with pytest.raises(VestnikError, match="username"):
        await register(other, "anna@example.org", "anna")
    await register(other, "anna@example.org", "other_name")
    with pytest.raises(TokenExpired):
        await other.commands.verify_email(await other.token("anna@example.org"), NO_ACTOR)
    clock.forward(HOUR)
    outcomes = await asyncio.gather(
        register(one, "first@example.org", "anna"),
        register(other, "second@example.org", "anna"),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, VestnikError)]
    assert [error.code for error in refused] == ["username_taken"]
    boris = await register(one, "anna@example.org", "boris")
    await other.commands.verify_email(await other.token("anna@example.org"), NO_ACTOR, password=PASSWORD)
    assert await log_in(one, "anna@example.org") == boris.user_id


async def test_an_operator_erases_somebody_whose_erasure_is_due_later_and_an_account_without_a_verified_address(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await delete(one, anna)
    assert (await erasures(other, anna).erase(anna.user_id, "operator", NO_ACTOR)).erased
    assert not (await erasures(one, anna).erase(anna.user_id, "operator", NO_ACTOR)).erased
    boris = Account((await register(one, "boris@example.org", "boris")).user_id, "boris@example.org")
    token = await other.token("boris@example.org")
    assert (await erasures(other, boris).erase(boris.user_id, "operator", NO_ACTOR)).erased
    with pytest.raises(TokenExpired):
        await one.commands.verify_email(token, NO_ACTOR)
    # No one else knew the name.
    await register(one, "carl@example.org", "boris")
    with pytest.raises(UserNotFound):
        await erasures(one, anna).erase(new_id(), "operator", NO_ACTOR)


async def test_a_legal_hold_holds_an_erasure_up_and_the_person_is_not_told(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await one.aggregates.data_keys.execute(anna.user_id, lambda _: (DataKeysHoldPlaced(reason="a case"),), NO_ACTOR)
    await delete(other, anna)
    clock.forward(GRACE)
    for reason in ("requested", "operator"):
        with pytest.raises(LegalHold):
            await erasures(other, anna).erase(anna.user_id, reason, NO_ACTOR)
    assert await log_in(one, "anna") == "invalid_credentials"
    reset = one.changes(NoSessions()).reset(
        token=await one.reset_token("anna@example.org"), new="another horse", provenance=NO_ACTOR
    )
    with pytest.raises(TokenExpired):
        await reset
    assert await events(one, anna.user_id) == [UserErasureRequested]
    await one.aggregates.data_keys.execute(anna.user_id, lambda _: (DataKeysHoldReleased(),), NO_ACTOR)
    assert await erase(other, anna)


async def test_at_once_means_that_the_request_erases(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await delete(one, anna, terms=ErasureTerms(grace=timedelta(), name_reuse=timedelta()))
    assert await events(one, anna.user_id) == [UserErasureRequested, UserErased]
    await register(other, "boris@example.org", "anna")


async def test_tokens_from_before_the_erasure_are_void(replicas: tuple[Auth, Auth], clock: Clock) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "new@example.org")
    pending = await request(one, anna, "third@example.org")
    undoing = await undo_token(one, anna, "anna@example.org")
    resetting = await one.reset_token("new@example.org")
    key = one.keys.of_email("new@example.org")
    verifying = one.tokens.sign(Verification(user_id=anna.user_id, claim_key=key, expires_at=clock() + HOUR))
    report = NotMe(user_id=anna.user_id, credential=1, event_id=new_id(), event_at=clock(), claim_key=key)
    await erasures(other, anna).erase(anna.user_id, "operator", NO_ACTOR)
    reports = NotMeReports(one.aggregates, one.reported, one.resets, NoSessions(), lifetime=HOUR, clock=one.clock)
    for attempt in (
        one.commands.verify_email(pending, NO_ACTOR, password=PASSWORD),
        one.commands.verify_email(verifying, NO_ACTOR),
        undo(one, undoing),
        one.changes(NoSessions()).reset(token=resetting, new="another horse", provenance=NO_ACTOR),
        reports.report(one.reported.sign(report), NO_ACTOR),
    ):
        with pytest.raises(TokenExpired):
            await attempt
    before = await one.aggregates.log.last_sequence(subjects.email_claim(key))
    await one.changes(NoSessions()).request_reset("new@example.org", NO_ACTOR)
    assert await one.aggregates.log.last_sequence(subjects.email_claim(key)) == before


async def test_a_report_of_the_owner_and_an_undone_change_of_the_address_cancel_it(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await delete(one, anna)
    report = NotMe(
        user_id=anna.user_id,
        credential=1,
        event_id=new_id(),
        event_at=clock(),
        claim_key=one.keys.of_email("anna@example.org"),
    )
    reports = NotMeReports(
        other.aggregates, other.reported, other.resets, NoSessions(), lifetime=HOUR, clock=other.clock
    )
    await reports.report(one.reported.sign(report), NO_ACTOR)
    assert await events(one, anna.user_id) == [UserErasureRequested, UserErasureCancelled]
    assert isinstance(await last(one, subjects.credential(anna.user_id)), PasswordVoided)
    boris = await account(one, "boris")
    await change(one, boris, "thief@example.org")
    await delete(one, boris)
    await undo(other, await undo_token(one, boris, "boris@example.org"))
    assert (await events(one, boris.user_id))[-1] is UserErasureCancelled


async def test_an_account_is_erased_whose_name_and_address_cannot_be_read_and_these_stay_taken(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    user = (await one.aggregates.users.load(anna.user_id)).state
    # As every reader finds it once the loss of the person's key was accepted.
    one.aggregates.users._evolve = lambda state, event, at: msgspec.structs.replace(
        evolve_user(state, event, at), username=""
    )
    one.aggregates.users.forget_all()
    assert user.username

    async def unknown(user_id: str, position: Position) -> str:
        raise UserNotFound

    async def unreadable(user_id: str, position: Position) -> str:
        return ""

    with pytest.raises(UserNotFound):
        # Elsewhere it can be read: something else is wrong, and the erasure waits.
        await other.erasures(NoSessions(), unknown).erase(anna.user_id, "operator", NO_ACTOR)
    erased = await one.erasures(NoSessions(), unknown).erase(anna.user_id, "operator", NO_ACTOR)
    assert (erased.erased, erased.free_at) == (True, None)
    assert await last(other, subjects.data_keys(anna.user_id)) == DataKeysDestroyed(reason="erasure")
    with pytest.raises(VestnikError, match="username"):
        await register(other, "someone@example.org", "anna")
    boris = await account(other, "boris")
    erased = await other.erasures(NoSessions(), unreadable).erase(boris.user_id, "operator", NO_ACTOR)
    assert (erased.erased, erased.free_at) == (True, None)
    claimed = await last(one, subjects.username_claim(one.keys.of_username("boris")))
    assert isinstance(claimed, UsernameClaimed)


class Due:
    """Timers of one person."""

    def __init__(self, due: DueErasure) -> None:
        self._due = due

    async def due(self, now: datetime, complete: datetime, limit: int, *, after: DueErasure | None) -> list[DueErasure]:
        return [self._due]


async def test_an_erasure_is_complete_when_no_process_can_have_the_key_and_nothing_else_is_left(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    await ensure_bucket(streams, subjects.DATA_KEYS, replicas=1)
    anna = await account(one, "anna")
    await one.data_keys(streams).create([person_key(anna.user_id)])
    await erasures(one, anna).erase(anna.user_id, "operator", NO_ACTOR)
    due = DueErasure(anna.user_id, clock(), erased=True)
    removals = Removals(failures=1)
    processes = [
        ErasureProcess(erasures(auth, anna), Due(due), KeyStore(streams), removals, clock=clock) for auth in replicas
    ]
    clock.forward(timedelta(seconds=100))
    # The reaction that destroys the key has not run yet.
    await processes[0].act(due)
    assert (await events(one, anna.user_id))[-1] is UserErased
    await KeyDestruction(KeyStore(streams), clock=clock).destroy_person(anna.user_id)
    clock.forward(timedelta(seconds=89))
    await processes[0].act(due)
    assert (await events(one, anna.user_id))[-1] is UserErased
    clock.forward(timedelta(seconds=1))
    with pytest.raises(Unavailable):
        await processes[0].act(due)
    assert (await events(one, anna.user_id))[-1] is UserErased
    await asyncio.gather(*(process.act(due) for process in processes))
    assert set(removals.of) == {anna.user_id}
    assert (await events(other, anna.user_id))[1:] == [UserErasureCompleted]
