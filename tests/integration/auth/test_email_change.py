"""Changes of an account's address over real streams, with any replica: requests and confirmations."""

from typing import Any

import pytest
from nats.aio.client import Client as NATS

from contracts.errors import InvalidCredentials, InvalidToken, PasswordRequired, RateLimited, TokenExpired
from contracts.events.user import EmailClaimed, EmailVerified, UserCreated, UserEmailVerified
from contracts.positions import Position
from contracts.values.ids import new_id
from services.auth import domain
from services.auth.email_change.decisions import HELD, MOST_CHANGES
from services.auth.tokens.email_change_undo import EmailChangeUndo
from services.auth.tokens.email_verification import Verification
from streams.message import Message
from tests.integration.auth.accounts import (
    NO_ACTOR,
    Account,
    account,
    change,
    log_in,
    owner,
    register,
    request,
    undo,
    undo_token,
)
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import DAY, HOUR, PASSWORD, Auth, Clock, stored


async def test_after_a_change_both_addresses_log_in_for_a_week_and_then_the_new_one_alone(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "New@example.org")
    assert await log_in(other, "new@example.org") == "invalid_credentials"
    await other.commands.verify_email(token, NO_ACTOR, password=PASSWORD)
    for auth in replicas:
        for login in ("anna@example.org", "NEW@example.org", "anna"):
            assert await log_in(auth, login) == anna.user_id
    await one.commands.verify_email(token, NO_ACTOR)  # a second use needs no password
    clock.forward(HELD)
    assert await log_in(one, "anna@example.org") == "invalid_credentials"
    assert await log_in(one, "new@example.org") == anna.user_id
    boris = await register(one, "anna@example.org", "boris")
    await other.commands.verify_email(await other.token("anna@example.org"), NO_ACTOR)
    assert await log_in(one, "anna@example.org") == boris.user_id


async def test_a_request_appends_the_same_for_taken_and_free_addresses(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    one, other = replicas
    anna, _ = await account(one, "anna"), await account(one, "boris")
    for email in ("free@example.org", "boris@example.org", "anna@example.org"):
        before = len(await stored(streams, "AUTH"))
        await request(other, anna, email)
        (event,) = (await stored(streams, "AUTH"))[before:]
        assert (event.type, event.subject) == (
            "email.change_requested",
            f"vestnik.auth.email.{one.keys.of_email(email)}",
        )


async def test_a_request_and_its_confirmation_need_the_accounts_password(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    with pytest.raises(InvalidCredentials):
        await request(one, anna, "new@example.org", "wrong")
    token = await request(one, anna, "new@example.org")
    shown = await other.commands.registration(token)
    assert (shown.username, shown.needs_password, shown.changes_user_id) == ("anna", True, anna.user_id)
    with pytest.raises(PasswordRequired):
        await other.commands.verify_email(token, NO_ACTOR)
    with pytest.raises(InvalidCredentials):
        await other.commands.verify_email(token, NO_ACTOR, password="wrong")
    assert await owner(one, "new@example.org") is None


async def test_wrong_passwords_are_recorded_as_failed_logins(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    one, _ = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "new@example.org")
    with pytest.raises(InvalidCredentials):
        await request(one, anna, "new@example.org", "wrong")
    with pytest.raises(InvalidCredentials):
        await one.commands.verify_email(token, NO_ACTOR, password="wrong", address="192.0.2.1")
    await one.failures.close()
    recorded = [event for event in await stored(streams, "AUTH") if event.type == "login.failed"]
    assert [event.subject.rpartition(".")[2] for event in recorded] == [anna.user_id] * 2


async def test_a_request_looks_up_the_same_for_taken_and_free_addresses(
    replicas: tuple[Auth, Auth], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = replicas
    anna, boris = await account(one, "anna"), await account(one, "boris")
    await log_in(one, boris.email)
    looked_up: list[str] = []
    last, read = one.aggregates.log.last_stored, one.aggregates.log.read

    async def count_last(subject: str) -> Message | None:
        looked_up.append("last")
        return await last(subject)

    async def count_read(subject: str, **options: Any) -> list[Message]:  # noqa: ANN401 - the log's own
        looked_up.append("read")
        return await read(subject, **options)

    monkeypatch.setattr(one.aggregates.log, "last_stored", count_last)
    monkeypatch.setattr(one.aggregates.log, "read", count_read)
    counts = []
    for email in ("free@example.org", boris.email, anna.email, "free@example.org"):
        looked_up.clear()
        await one.email_changes.request(
            user_id=anna.user_id,
            email=email,
            password=PASSWORD,
            own_address=anna.own_address,
            position=Position(),
            provenance=NO_ACTOR,
        )
        counts.append(list(looked_up))
    assert counts == [["last"] * 4] * 4


async def test_a_token_confirms_its_own_request_only(replicas: tuple[Auth, Auth], clock: Clock) -> None:
    one, other = replicas
    anna, boris = await account(one, "anna"), await account(one, "boris")
    await request(one, boris, "new@example.org")
    key = one.keys.of_email("new@example.org")
    forged = Verification(user_id=anna.user_id, claim_key=key, expires_at=clock() + DAY)
    with pytest.raises(TokenExpired):
        await other.commands.verify_email(one.tokens.sign(forged), NO_ACTOR, password=PASSWORD)
    undo_instead = one.undos.sign(EmailChangeUndo(user_id=boris.user_id, claim_key=key, until=clock() + DAY))
    with pytest.raises(InvalidToken):
        await other.commands.verify_email(undo_instead, NO_ACTOR, password=PASSWORD)
    with pytest.raises(TokenExpired):
        await undo(other, undo_instead)
    with pytest.raises(InvalidToken):
        await undo(other, await one.token("new@example.org"))
    late = await one.token("new@example.org")
    clock.forward(DAY)
    with pytest.raises(TokenExpired):
        await other.commands.verify_email(late, NO_ACTOR, password=PASSWORD)


async def test_a_token_serves_its_request_until_a_newer_one_to_the_same_address(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    first = await request(one, anna, "new@example.org")
    clock.forward(HOUR)
    second = await request(other, anna, "new@example.org")
    with pytest.raises(TokenExpired):
        await other.commands.registration(first)
    with pytest.raises(TokenExpired):
        await other.commands.verify_email(first, NO_ACTOR, password=PASSWORD)
    with pytest.raises(TokenExpired):
        await one.commands.end_registration(first, NO_ACTOR)
    await one.commands.verify_email(second, NO_ACTOR, password=PASSWORD)
    assert await owner(other, "new@example.org") == anna.user_id


async def test_another_password_ends_a_request(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "new@example.org")
    await other.changes(NoSessions()).change(
        user_id=anna.user_id, current=PASSWORD, new="another horse", session_id="", provenance=NO_ACTOR
    )
    with pytest.raises(TokenExpired):
        await one.commands.registration(token)
    for password in (PASSWORD, "another horse"):
        with pytest.raises(TokenExpired):
            await one.commands.verify_email(token, NO_ACTOR, password=password)


async def test_an_address_that_is_the_accounts_already_is_not_changed(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "ANNA@EXAMPLE.org")
    before = len(await stored(streams, "AUTH"))
    await other.commands.verify_email(token, NO_ACTOR, password=PASSWORD)
    assert len(await stored(streams, "AUTH")) == before


async def test_spellings_of_a_domain_are_one_address(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna, boris = await account(one, "anna"), await account(one, "boris")
    await change(one, anna, "a@exämple.org")
    assert await log_in(other, "A@xn--exmple-cua.org") == anna.user_id
    token = await request(other, boris, "a@xn--exmple-cua.org")
    with pytest.raises(TokenExpired):
        await one.commands.verify_email(token, NO_ACTOR, password=PASSWORD)


async def test_an_account_from_before_pending_registrations_changes_its_address(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = Account(new_id(), "anna@exämple.org")
    key = one.keys.of_text(anna.email)
    claimed = EmailClaimed(user_id=anna.user_id, email=anna.email, username="anna", expires_at=one.clock() + DAY)
    verified = EmailVerified(user_id=anna.user_id)
    await one.aggregates.addresses.execute(key, lambda _: (claimed, verified), NO_ACTOR)
    hashed = await one.passwords.hash(PASSWORD)
    await one.aggregates.credentials.execute(anna.user_id, lambda _: domain.decide_set_credential(hashed), NO_ACTOR)
    await one.aggregates.users.execute(
        anna.user_id, lambda _: (UserCreated(username="anna"), UserEmailVerified()), NO_ACTOR
    )
    await change(other, anna, "new@example.org")
    assert await log_in(one, "new@example.org") == await log_in(one, "anna@xn--exmple-cua.org") == anna.user_id
    state = (await one.aggregates.addresses.load(key)).state
    assert (state.replaced_by, state.email) == (one.keys.of_email("new@example.org"), anna.email)


async def test_the_reader_of_the_mail_ends_a_request_and_the_account_keeps_its_name(
    replicas: tuple[Auth, Auth],
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "stranger@example.org")
    for _ in range(2):
        await other.commands.end_registration(token, NO_ACTOR)
    with pytest.raises(TokenExpired):
        await one.commands.verify_email(token, NO_ACTOR, password=PASSWORD)
    assert await log_in(one, "anna") == anna.user_id


async def test_an_account_is_refused_more_changes_than_a_chain_may_have(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    for number in range(MOST_CHANGES):
        await change(one, anna, f"number{number}@example.org")
    with pytest.raises(RateLimited):
        await request(other, anna, "last@example.org")
    await undo(other, await undo_token(one, anna, "anna@example.org"))
    assert await owner(one, f"number{MOST_CHANGES - 1}@example.org") is None


async def test_an_account_is_refused_more_changes_though_it_returns_to_its_earlier_address(
    replicas: tuple[Auth, Auth],
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    for number in range(MOST_CHANGES):
        await change(one, anna, ("other@example.org", "anna@example.org")[number % 2])
    with pytest.raises(RateLimited):
        await request(other, anna, "anna@example.org")
