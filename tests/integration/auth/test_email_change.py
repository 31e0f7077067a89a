"""Changes of an account's address over real streams, with any replica."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client as NATS

from contracts.durable_consumers import VERIFICATION_MAIL
from contracts.envelope import Provenance
from contracts.errors import (
    InvalidCredentials,
    InvalidToken,
    PasswordRequired,
    RateLimited,
    TokenExpired,
)
from contracts.events.user import EmailClaimed, EmailVerified, UserCreated, UserEmailVerified
from contracts.positions import Position
from contracts.rpc.vestnik.session.v1 import Tokens
from contracts.values.ids import new_id
from services.auth import domain
from services.auth.alerts.not_me import NotMeReports
from services.auth.email_change.decisions import HELD, MOST_CHANGES
from services.auth.mail.texts import VOID_PASSWORD
from services.auth.registration.decisions import as_of
from services.auth.tokens.email_change_undo import EmailChangeUndo
from services.auth.tokens.email_verification import Verification
from services.auth.tokens.not_me import NotMe
from services.auth.tokens.password_reset import Reset
from streams.message import Message
from tests.integration.auth.test_registration import log_in, register
from tests.integration.auth.test_verification_mail import Nobody, Recording, reacting, settled
from tests.integration.auth_and_session import DAY, HOUR, PASSWORD, Auth, Clock, stored

BY_NOBODY = Provenance(correlation_id="request")


class Account(msgspec.Struct):
    """An account with the address that its read model shows."""

    user_id: str
    email: str

    async def own_address(self, user_id: str, position: Position) -> str:
        return self.email


async def account(auth: Auth, name: str) -> Account:
    email = f"{name}@example.org"
    user = await register(auth, email, name)
    await auth.commands.verify_email(await auth.token(email), BY_NOBODY)
    return Account(user.user_id, email)


async def request(auth: Auth, who: Account, email: str, password: str = PASSWORD) -> str:
    """Requests a change; returns the token that the mail to the new address would contain."""
    await auth.email_changes.request(
        user_id=who.user_id,
        email=email,
        password=password,
        own_address=who.own_address,
        position=Position(),
        provenance=BY_NOBODY,
    )
    return await auth.token(email)


async def change(auth: Auth, who: Account, email: str) -> None:
    await auth.commands.verify_email(await request(auth, who, email), BY_NOBODY, password=PASSWORD)


async def undo_token(auth: Auth, who: Account, email: str) -> str:
    """The token in the mail to an address that the account has left."""
    key = auth.keys.of_email(email)
    until = (await auth.aggregates.addresses.load(key)).state.owner_until
    assert until is not None
    return auth.undos.sign(EmailChangeUndo(user_id=who.user_id, claim_key=key, until=until))


async def undo(auth: Auth, token: str) -> None:
    await auth.email_undo(Nobody()).undo(token, BY_NOBODY)


async def owner(auth: Auth, email: str) -> str | None:
    return as_of((await auth.aggregates.addresses.load(auth.keys.of_email(email))).state, auth.clock()).owner


async def test_after_a_change_both_addresses_log_in_for_a_week_and_then_the_new_one_alone(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "New@example.org")
    assert await log_in(other, "new@example.org") == "invalid_credentials"
    await other.commands.verify_email(token, BY_NOBODY, password=PASSWORD)
    for auth in replicas:
        for login in ("anna@example.org", "NEW@example.org", "anna"):
            assert await log_in(auth, login) == anna.user_id
    await one.commands.verify_email(token, BY_NOBODY)  # a second use needs no password
    clock.forward(HELD)
    assert await log_in(one, "anna@example.org") == "invalid_credentials"
    assert await log_in(one, "new@example.org") == anna.user_id
    boris = await register(one, "anna@example.org", "boris")
    await other.commands.verify_email(await other.token("anna@example.org"), BY_NOBODY)
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
        await other.commands.verify_email(token, BY_NOBODY)
    with pytest.raises(InvalidCredentials):
        await other.commands.verify_email(token, BY_NOBODY, password="wrong")
    assert await owner(one, "new@example.org") is None


async def test_wrong_passwords_are_recorded_as_failed_logins(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    one, _ = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "new@example.org")
    with pytest.raises(InvalidCredentials):
        await request(one, anna, "new@example.org", "wrong")
    with pytest.raises(InvalidCredentials):
        await one.commands.verify_email(token, BY_NOBODY, password="wrong", address="192.0.2.1")
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
            provenance=BY_NOBODY,
        )
        counts.append(list(looked_up))
    assert counts == [["last"] * 4] * 4


async def test_a_notice_of_an_undo_is_not_sent_again_after_an_import(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    await undo(other, await undo_token(one, anna, "anna@example.org"))
    clock.forward(5 * DAY)
    outbox = Recording()
    async with reacting(streams, one, outbox, clock):
        await settled(streams)
    assert outbox.sent == []


async def test_a_token_confirms_its_own_request_only(replicas: tuple[Auth, Auth], clock: Clock) -> None:
    one, other = replicas
    anna, boris = await account(one, "anna"), await account(one, "boris")
    await request(one, boris, "new@example.org")
    key = one.keys.of_email("new@example.org")
    forged = Verification(user_id=anna.user_id, claim_key=key, expires_at=clock() + DAY)
    with pytest.raises(TokenExpired):
        await other.commands.verify_email(one.tokens.sign(forged), BY_NOBODY, password=PASSWORD)
    undo_instead = one.undos.sign(EmailChangeUndo(user_id=boris.user_id, claim_key=key, until=clock() + DAY))
    with pytest.raises(InvalidToken):
        await other.commands.verify_email(undo_instead, BY_NOBODY, password=PASSWORD)
    with pytest.raises(TokenExpired):
        await undo(other, undo_instead)
    with pytest.raises(InvalidToken):
        await undo(other, await one.token("new@example.org"))
    late = await one.token("new@example.org")
    clock.forward(DAY)
    with pytest.raises(TokenExpired):
        await other.commands.verify_email(late, BY_NOBODY, password=PASSWORD)


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
        await other.commands.verify_email(first, BY_NOBODY, password=PASSWORD)
    with pytest.raises(TokenExpired):
        await one.commands.end_registration(first, BY_NOBODY)
    await one.commands.verify_email(second, BY_NOBODY, password=PASSWORD)
    assert await owner(other, "new@example.org") == anna.user_id


async def test_another_password_ends_a_request(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "new@example.org")
    await other.changes(Nobody()).change(
        user_id=anna.user_id, current=PASSWORD, new="another horse", session_id="", provenance=BY_NOBODY
    )
    with pytest.raises(TokenExpired):
        await one.commands.registration(token)
    for password in (PASSWORD, "another horse"):
        with pytest.raises(TokenExpired):
            await one.commands.verify_email(token, BY_NOBODY, password=password)


async def test_an_address_that_is_the_accounts_already_is_not_changed(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    token = await request(one, anna, "ANNA@EXAMPLE.org")
    before = len(await stored(streams, "AUTH"))
    await other.commands.verify_email(token, BY_NOBODY, password=PASSWORD)
    assert len(await stored(streams, "AUTH")) == before


async def test_spellings_of_a_domain_are_one_address(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna, boris = await account(one, "anna"), await account(one, "boris")
    await change(one, anna, "a@exämple.org")
    assert await log_in(other, "A@xn--exmple-cua.org") == anna.user_id
    token = await request(other, boris, "a@xn--exmple-cua.org")
    with pytest.raises(TokenExpired):
        await one.commands.verify_email(token, BY_NOBODY, password=PASSWORD)


async def test_an_account_from_before_pending_registrations_changes_its_address(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = Account(new_id(), "anna@exämple.org")
    key = one.keys.of_text(anna.email)
    claimed = EmailClaimed(user_id=anna.user_id, email=anna.email, username="anna", expires_at=one.clock() + DAY)
    verified = EmailVerified(user_id=anna.user_id)
    await one.aggregates.addresses.execute(key, lambda _: (claimed, verified), BY_NOBODY)
    hashed = await one.passwords.hash(PASSWORD)
    await one.aggregates.credentials.execute(anna.user_id, lambda _: domain.decide_set_credential(hashed), BY_NOBODY)
    await one.aggregates.users.execute(
        anna.user_id, lambda _: (UserCreated(username="anna"), UserEmailVerified()), BY_NOBODY
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
        await other.commands.end_registration(token, BY_NOBODY)
    with pytest.raises(TokenExpired):
        await one.commands.verify_email(token, BY_NOBODY, password=PASSWORD)
    assert await log_in(one, "anna") == anna.user_id


async def test_an_undo_restores_the_address_and_makes_the_password_void_until_a_reset(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    token = await undo_token(one, anna, "anna@example.org")
    before = len(await stored(streams, "AUTH"))
    await undo(other, token)
    assert [event.type for event in (await stored(streams, "AUTH"))[before:]] == [
        "email.restored",
        "password.reset_requested",
        "email.released",
        "password.voided",
    ]
    await undo(one, token)
    assert len(await stored(streams, "AUTH")) == before + 4
    for login in ("anna@example.org", "thief@example.org", "anna"):
        assert await log_in(one, login) == "invalid_credentials"
    with pytest.raises(InvalidCredentials):
        await request(one, anna, "thief@example.org")
    outbox = Recording()
    async with reacting(streams, one, outbox, clock):
        await settled(streams)
    (reset,) = [mail for mail in outbox.sent if mail.kind == "password_reset"]
    assert (reset.recipient, reset.text) == ("anna@example.org", VOID_PASSWORD)
    await other.changes(Nobody()).reset(token=reset.offers[0].token, new="another horse", provenance=BY_NOBODY)
    assert await log_in(one, "anna@example.org", "another horse") == anna.user_id
    # The address that was freed is free at once.
    boris = await register(one, "thief@example.org", "boris")
    await one.commands.verify_email(await one.token("thief@example.org"), BY_NOBODY)
    assert await log_in(one, "thief@example.org") == boris.user_id


async def test_the_undo_of_the_first_of_several_changes_wins_over_all(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    for email in ("b@example.org", "c@example.org", "d@example.org"):
        await change(one, anna, email)
    first, second = [await undo_token(one, anna, f"{name}@example.org") for name in ("anna", "b")]
    await undo(other, second)
    assert await owner(one, "b@example.org") == anna.user_id
    assert [await owner(one, f"{name}@example.org") for name in "cd"] == [None, None]
    await undo(other, first)
    assert await owner(one, "anna@example.org") == anna.user_id
    assert await owner(one, "b@example.org") is None
    with pytest.raises(TokenExpired):
        await undo(one, second)


async def test_an_undo_is_void_after_a_week_and_does_not_undo_a_later_change(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "b@example.org")
    token = await undo_token(one, anna, "anna@example.org")
    clock.forward(HELD)
    with pytest.raises(TokenExpired):
        await undo(other, token)
    anna.email = "b@example.org"
    await change(one, anna, "anna@example.org")
    with pytest.raises(TokenExpired):
        await undo(other, token)


async def test_a_return_to_an_earlier_address_frees_those_that_replaced_it(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    await change(other, anna, "anna@example.org")
    assert await owner(one, "thief@example.org") is None
    assert await log_in(one, "anna@example.org") == anna.user_id
    state = (await one.aggregates.addresses.load(one.keys.of_email("anna@example.org"))).state
    assert (state.owner_until, state.replaced_by) == (None, "")


@pytest.mark.parametrize("undone", [True, False])
async def test_no_token_that_was_mailed_to_an_address_serves_once_it_is_free(
    replicas: tuple[Auth, Auth], clock: Clock, undone: bool
) -> None:
    """Neither a reset nor a link "this was not me", whose answer is a reset, nor the answer to an earlier one."""
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    reports = NotMeReports(other.aggregates, other.reported, other.resets, Nobody(), lifetime=HOUR, clock=clock)
    mailed_to = one.keys.of_email("thief@example.org")
    alert = one.reported.sign(
        NotMe(user_id=anna.user_id, credential=1, event_id=new_id(), event_at=clock(), claim_key=mailed_to)
    )
    resets = [one.resets.sign(Reset(user_id=anna.user_id, credential=1, expires_at=clock() + HOUR))]
    if undone:
        resets.append((await reports.report(alert, BY_NOBODY)).reset_token)
        await undo(one, await undo_token(one, anna, "anna@example.org"))
    else:
        await change(one, anna, "anna@example.org")
        assert await log_in(one, "anna") == anna.user_id
    with pytest.raises(TokenExpired):
        await reports.report(alert, BY_NOBODY)
    for token in resets:
        with pytest.raises(TokenExpired):
            await other.changes(Nobody()).reset(token=token, new="the thief's password", provenance=BY_NOBODY)


class Meanwhile(Nobody):
    """Lets something happen before a session begins."""

    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._before = before

    async def create(self, *, user_id: str, **_: object) -> Tokens:
        await self._before()
        return Tokens(user_id=user_id, session_id="session")


async def test_a_login_that_races_a_return_to_an_earlier_address_succeeds(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "new@example.org")
    login = other.login(Meanwhile(lambda: change(one, anna, "anna@example.org")))
    logged_in = await login.login(login="anna", password=PASSWORD, device="phone", address="192.0.2.1")
    generation = (await one.aggregates.credentials.load(anna.user_id)).state.generation
    assert generation == 2
    assert one.devices.find(logged_in.device_token, anna.user_id, generation) is not None


async def test_both_addresses_receive_a_reset_for_a_week(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    outbox = Recording()
    async with reacting(streams, one, outbox, clock):
        for email in ("anna@example.org", "thief@example.org"):
            await other.changes(Nobody()).request_reset(email, BY_NOBODY)
        await settled(streams)
        resets = [mail for mail in outbox.sent if mail.kind == "password_reset"]
        assert [mail.recipient for mail in resets] == ["anna@example.org", "thief@example.org"]
        # The password is not void.
        assert [mail.text for mail in resets] == ["", ""]
        clock.forward(HELD)
        await other.changes(Nobody()).request_reset("anna@example.org", BY_NOBODY)
        await settled(streams)
    assert len([mail for mail in outbox.sent if mail.kind == "password_reset"]) == 2
    await other.changes(Nobody()).reset(
        token=one.resets.sign(Reset(user_id=anna.user_id, credential=1, expires_at=clock() + HOUR)),
        new="another horse",
        provenance=BY_NOBODY,
    )


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


async def test_a_change_is_followed_by_its_mails_in_the_accounts_language(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    user = await one.commands.register(
        email="Anna@example.org",
        username="anna",
        password=PASSWORD,
        display_name=None,
        provenance=BY_NOBODY,
        language="ru",
    )
    await one.commands.verify_email(await one.token("anna@example.org"), BY_NOBODY)
    anna = Account(user.user_id, "Anna@example.org")
    outbox = Recording()

    def sent() -> list[tuple[str, str, str]]:
        mails = [(mail.kind, mail.recipient, mail.language) for mail in outbox.sent]
        outbox.sent.clear()
        return sorted(mails)

    async with reacting(streams, one, outbox, clock):
        await request(other, anna, "New@example.org")
        await settled(streams)
        (letter,) = [mail for mail in outbox.sent if mail.kind == "email_change"]
        assert letter.offers[0].link == f"https://chat.example.org/#/confirm/{letter.offers[0].token}"
        (notice,) = [mail for mail in outbox.sent if mail.kind == "email_change_requested"]
        report = one.reported.read(notice.link.removeprefix("https://chat.example.org/#/not-me/"))
        assert (report.user_id, report.credential) == (anna.user_id, 1)
        assert sent() == [
            ("email_change", "New@example.org", "ru"),
            ("email_change_requested", "Anna@example.org", "ru"),
        ]
        await other.commands.verify_email(letter.offers[0].token, BY_NOBODY, password=PASSWORD)
        await settled(streams)
        (letter,) = outbox.sent
        assert letter.offers[0].link == f"https://chat.example.org/#/undo-email-change/{letter.offers[0].token}"
        assert sent() == [("email_changed", "Anna@example.org", "ru")]
        await undo(other, letter.offers[0].token)
        await settled(streams)
        assert sent() == [
            ("email_change_undone", "New@example.org", "ru"),
            ("password_reset", "Anna@example.org", "ru"),
        ]
        # A consumer that was lost sends none again.
        await streams.jetstream().delete_consumer("AUTH", VERIFICATION_MAIL.name)
        await register(one, "later@example.org", "later")
        await settled(streams)
    assert [mail[:2] for mail in sent()] == [("verification", "later@example.org")]


async def test_the_owner_of_a_wanted_address_gets_a_notice_and_its_reader_no_token(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    anna, _ = await account(one, "anna"), await account(one, "boris")
    await request(one, anna, "boris@example.org")
    await request(one, anna, "anna@example.org")
    outbox = Recording()
    async with reacting(streams, other, outbox, clock):
        await settled(streams)
    assert sorted((mail.kind, mail.recipient) for mail in outbox.sent) == [
        ("address_taken", "boris@example.org"),
        ("email_change_requested", "anna@example.org"),
    ]


async def test_the_mail_that_undoes_a_change_is_never_dropped(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = replicas
    outbox = Recording()
    accounts = [await account(one, f"anna+{number}") for number in range(2)]
    for number, who in enumerate(accounts):
        await change(other, who, f"new{number}@example.org")

    def undoing() -> list[str]:
        return sorted(mail.recipient for mail in outbox.sent if mail.kind == "email_changed")

    def pauses() -> list[int]:
        """Seconds after which the mail is tried again."""
        logged = [
            re.search(rf"{VERIFICATION_MAIL.name} retries event \d+ in (\d+) s", line) for line in caplog.messages
        ]
        return [int(match[1]) for match in logged if match is not None]

    with caplog.at_level(logging.INFO):
        async with reacting(streams, one, outbox, clock, mails_an_hour=1):
            async with asyncio.timeout(60):
                while not undoing() or not pauses():
                    await asyncio.sleep(0.01)
            # Not before the mailbox has room.
            assert min(pauses()) > HOUR.total_seconds() / 2
            clock.forward(HOUR)
            await streams.jetstream().delete_consumer("AUTH", VERIFICATION_MAIL.name)
            async with asyncio.timeout(60):
                while len(undoing()) < 2:
                    await asyncio.sleep(0.01)
    assert undoing() == ["anna+0@example.org", "anna+1@example.org"]
