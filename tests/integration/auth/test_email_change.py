"""Changes of an account's address over real streams, with any replica, also against a model."""

import asyncio
import copy
import itertools
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

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
    VestnikError,
)
from contracts.events.user import AddressState, EmailClaimed, EmailVerified, UserCreated, UserEmailVerified
from contracts.positions import Position
from contracts.values.ids import new_id
from infra.security.secrets import Secrets
from services.auth import domain
from services.auth.alerts.not_me import NotMeReports
from services.auth.email_change.decisions import HELD, MOST_CHANGES, is_present
from services.auth.registration.decisions import as_of
from services.auth.tokens.email_change_undo import EmailChangeUndo
from services.auth.tokens.email_verification import Verification
from services.auth.tokens.not_me import NotMe, NotMeTokens
from services.auth.tokens.password_reset import Reset
from streams.message import Message
from tests.integration.auth.test_registration import log_in, register
from tests.integration.auth.test_verification_mail import Nobody, Recording, reacting, settled
from tests.integration.auth_and_session import DAY, HOUR, PASSWORD, Auth, Clock, stored

BY_NOBODY = Provenance(correlation_id="request")
R = TypeVar("R")


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


async def test_a_request_appends_the_same_whoever_has_the_address(replicas: tuple[Auth, Auth], streams: NATS) -> None:
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


async def test_a_request_looks_up_the_same_whoever_has_the_address(
    replicas: tuple[Auth, Auth], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = replicas
    anna, boris = await account(one, "anna"), await account(one, "boris")
    await log_in(one, boris.email)
    looked_up: list[str] = []
    last, read = one.aggregates.log.last, one.aggregates.log.read

    async def count_last(subject: str) -> Message | None:
        looked_up.append("last")
        return await last(subject)

    async def count_read(subject: str, **options: Any) -> list[Message]:  # noqa: ANN401 - the log's own
        looked_up.append("read")
        return await read(subject, **options)

    monkeypatch.setattr(one.aggregates.log, "last", count_last)
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
    assert reset.recipient == "anna@example.org"
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
    replicas: tuple[Auth, Auth], secrets: Secrets, clock: Clock, undone: bool
) -> None:
    """Neither a reset nor a link "this was not me", whose answer is a reset, nor the answer to an earlier one."""
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    not_me = NotMeTokens(secrets.mail_key)
    reports = NotMeReports(other.aggregates, not_me, other.resets, Nobody(), lifetime=HOUR, clock=clock)
    alert = not_me.sign(NotMe(user_id=anna.user_id, credential=1, event_id=new_id(), event_at=clock()))
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
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    outbox = Recording()
    accounts = [await account(one, f"anna+{number}") for number in range(2)]
    for number, who in enumerate(accounts):
        await change(other, who, f"new{number}@example.org")

    def undoing() -> list[str]:
        return sorted(mail.recipient for mail in outbox.sent if mail.kind == "email_changed")

    async with reacting(streams, one, outbox, clock, mails_an_hour=1):
        async with asyncio.timeout(60):
            while not undoing():
                await asyncio.sleep(0.01)
        clock.forward(HOUR)
        async with asyncio.timeout(60):
            while len(undoing()) < 2:
                await asyncio.sleep(0.01)
    assert undoing() == ["anna+0@example.org", "anna+1@example.org"]


# The model: what becomes of the accounts and of what is pending on each address.


class Frozen:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Pending(msgspec.Struct):
    user: str
    expires: datetime
    # Of a change: the present address and the generation of the credential when it was requested.
    present: str | None = None
    generation: int = 0


class Known(msgspec.Struct):
    """An account of the model."""

    present: str
    # Addresses that it has left, oldest first, and until when each is still its own.
    left: list[tuple[str, datetime]] = []
    changes: list[datetime] = []
    generation: int = 1
    # None while it is void.
    password: str | None = PASSWORD


class Model(msgspec.Struct):
    now: datetime
    accounts: dict[str, Known] = {}
    pending: dict[str, list[Pending]] = {}

    def owner(self, address: str) -> str | None:
        return next(
            (
                user
                for user, known in self.accounts.items()
                if known.present == address or any(a == address and self.now < until for a, until in known.left)
            ),
            None,
        )

    def waiting(self, address: str) -> list[Pending]:
        return [each for each in self.pending.get(address, []) if self.now < each.expires]

    def add(self, address: str, added: Pending) -> None:
        others = [each for each in self.waiting(address) if each.user != added.user]
        self.pending[address] = [*others, added][-16:]

    def register(self, user: str, address: str) -> str:
        self.add(address, Pending(user, self.now + DAY))
        return "ok"

    def request(self, user: str, address: str, password: str | None) -> str:
        known = self.accounts[user]
        if known.password is None or known.password != password:
            return "invalid_credentials"
        if len([at for at in known.changes if self.now - at < HELD]) >= MOST_CHANGES:
            return "rate_limited"
        self.add(address, Pending(user, self.now + DAY, known.present, known.generation))
        return "ok"

    def confirm(self, user: str, address: str, expires: datetime) -> str:
        known = self.accounts.get(user)
        waiting = [each for each in self.waiting(address) if each.user == user]
        if known is not None and waiting and known.present != address:
            (change,) = waiting
            if self.now >= expires or change.generation != known.generation:
                return "token_expired"
            if self.owner(address) not in (None, user) or change.present != known.present:
                return "token_expired"
            if self.owner(address) == user:
                self.restore(known, address)
                known.generation += 1
            else:
                known.left = [*known.left, (known.present, self.now + HELD)]
                known.present, known.changes = address, [*known.changes, self.now]
                self.pending[address] = []
            self.pending[address] = [each for each in self.pending[address] if each.user != user]
            return "ok"
        if self.owner(address) == user:
            return "ok"
        if not waiting or self.now >= expires or self.owner(address) is not None or known is not None:
            return "token_expired"
        self.accounts[user] = Known(present=address)
        self.pending[address] = []
        return "ok"

    def undo(self, user: str, address: str, until: datetime) -> str:
        known = self.accounts[user]
        if self.now >= until or self.owner(address) != user:
            return "token_expired"
        if known.present == address:
            return "ok"
        if (address, until) not in known.left:
            return "token_expired"
        self.restore(known, address)
        self.pending[address] = [each for each in self.pending.get(address, []) if each.user != user]
        known.generation, known.password = known.generation + 1, None
        return "ok"

    def restore(self, known: Known, address: str) -> None:
        known.left = [each for each in known.left if self.now < each[1]]
        index = [left for left, _ in known.left].index(address)
        # The restored address was reached by the changes before it was left.
        left_at = known.left[index][1] - HELD
        known.changes = [change for change in known.changes if change < left_at]
        known.present, known.left = address, known.left[:index]

    def end(self, user: str, address: str) -> str:
        waiting = self.waiting(address)
        if all(each.user != user for each in waiting):
            return "token_expired" if self.owner(address) == user else "ok"
        self.pending[address] = [each for each in waiting if each.user != user]
        return "ok"

    def reset(self, user: str, password: str) -> str:
        known = self.accounts[user]
        known.generation, known.password = known.generation + 1, password
        return "ok"


# A step: what to do, and with which account or token and which address.
Step = tuple[str, int, int]
NAMES = ("a", "b", "c", "d")


class Shown(Account):
    """An account whose read model may be behind; asked for an end that it has not seen, it has caught up."""

    play: "Play"

    async def own_address(self, user_id: str, position: Position) -> str:
        if position == Position():
            return self.email
        return next(
            self.play.email(address)
            for address, state in (await self.play.states()).items()
            if is_present(state, user_id)
        )


class Play:
    """Runs steps on the replicas and on the model, one by one or two at once."""

    def __init__(self, replicas: tuple[Auth, Auth], clock: Frozen, prefix: str) -> None:
        self.replicas = replicas
        self.clock = clock
        self.prefix = prefix
        self.model = Model(now=clock.now)
        # Of registrations and changes: user, address, expiry. Of undos: user, address, until.
        self.mailed: list[tuple[str, str, datetime]] = []
        self.undos: list[tuple[str, str, datetime]] = []
        # The addresses that registered users registered with, by user id, and each user's username.
        self.first: dict[str, str] = {}
        self.numbers = itertools.count()

    def email(self, address: str) -> str:
        return f"{self.prefix}{address}@example.org"

    def key(self, address: str) -> str:
        return self.replicas[0].keys.of_email(self.email(address))

    async def register(self, address: str) -> None:
        name = f"{self.prefix}u{len(self.first)}"
        user = (await register(self.replicas[0], self.email(address), name)).user_id
        self.first[user] = address
        self.model.register(user, address)
        self.mailed.append((user, address, self.clock.now + DAY))

    def act(self, step: Step) -> tuple[Callable[[Model], str], Callable[[Auth], Awaitable[object]]] | None:
        """What the step does to the model and to a replica; None if there is nothing to do it with."""
        kind, which, number = step
        address = NAMES[number % len(NAMES)]
        users = sorted(self.model.accounts)
        tokens = self.undos if kind == "undo" else self.mailed
        if not (users if kind in ("request", "reset") else tokens):
            return None
        if kind == "request":
            user = users[which % len(users)]
            password = self.model.accounts[user].password
            who = Shown(user, self.email(self.model.accounts[user].present), self)
            return (lambda model: model.request(user, address, password)), (
                lambda auth: request(auth, who, self.email(address), password or PASSWORD)
            )
        if kind == "reset":
            user = users[which % len(users)]
            new = f"a good password {next(self.numbers)}"
            return (lambda model: model.reset(user, new)), (lambda auth: self.reset(auth, user, new))
        user, address, until = tokens[-1 - which % min(len(tokens), 6)]
        if kind == "undo":
            content = EmailChangeUndo(user_id=user, claim_key=self.key(address), until=until)
            return (lambda model: model.undo(user, address, until)), (lambda auth: undo(auth, auth.undos.sign(content)))
        token = self.replicas[0].tokens.sign(Verification(user_id=user, claim_key=self.key(address), expires_at=until))
        if kind == "end":
            return (lambda model: model.end(user, address)), (
                lambda auth: auth.commands.end_registration(token, BY_NOBODY)
            )
        known = self.model.accounts.get(user)
        password = (known.password if known is not None else None) or PASSWORD
        return (lambda model: model.confirm(user, address, until)), (
            lambda auth: auth.commands.verify_email(token, BY_NOBODY, password=password)
        )

    async def reset(self, auth: Auth, user: str, new: str) -> None:
        while True:
            generation = (await auth.aggregates.credentials.load(user)).state.generation
            token = auth.resets.sign(Reset(user_id=user, credential=generation, expires_at=self.clock.now + HOUR))
            try:
                await auth.changes(Nobody()).reset(token=token, new=new, provenance=BY_NOBODY)
            except TokenExpired:
                continue
            return

    async def together(self, steps: list[Step]) -> None:
        """Runs the steps at once; some order of them must explain their answers and what became of the addresses."""
        # Of two resets at once, the state does not show which password is valid.
        resets = [step for step in steps if step[0] == "reset"]
        acts = [act for act in map(self.act, [step for step in steps if step not in resets[1:]]) if act is not None]
        answers = await asyncio.gather(*(answer(do(self.replicas[number % 2])) for number, (_, do) in enumerate(acts)))
        reached = await self.reached()
        seen = []
        for order in itertools.permutations(range(len(acts))):
            model = copy.deepcopy(self.model)
            expected = [""] * len(acts)
            for index in order:
                expected[index] = acts[index][0](model)
            if expected == answers and self.shown(model) == reached:
                self.adopt(model, steps)
                return
            seen.append((expected, self.shown(model)))
        raise AssertionError(f"{steps}: {answers} and {reached}, but in no order; possible are {seen}")

    def adopt(self, model: Model, steps: list[Step]) -> None:
        for user, known in model.accounts.items():
            before = self.model.accounts.get(user)
            for address, until in known.left:
                if before is None or (address, until) not in before.left:
                    self.undos.append((user, address, until))
        for address in NAMES:
            for each in model.waiting(address):
                if (user_token := (each.user, address, each.expires)) not in self.mailed:
                    self.mailed.append(user_token)
        self.model = model

    def shown(self, model: Model) -> dict[str, object]:
        """By address: its owner, whether it is the present one, what is pending. By account: its credential."""
        addresses: dict[str, object] = {}
        for address in NAMES:
            owner = model.owner(address)
            present = owner is not None and model.accounts[owner].present == address
            waiting = [
                (each.user, each.expires, each.generation, self.key(each.present) if each.present else None)
                for each in model.waiting(address)
            ]
            addresses[address] = (owner, present, waiting)
        return addresses | {user: (known.generation, known.password is None) for user, known in model.accounts.items()}

    async def states(self) -> dict[str, AddressState]:
        addresses = self.replicas[self.clock.now.hour % 2].aggregates.addresses
        return {address: as_of((await addresses.load(self.key(address))).state, self.clock.now) for address in NAMES}

    async def reached(self) -> dict[str, object]:
        auth = self.replicas[self.clock.now.hour % 2]
        shown: dict[str, object] = {}
        users = set(self.model.accounts)
        for address, state in (await self.states()).items():
            present = state.owner is not None and state.owner_until is None
            waiting = [(each.user_id, each.expires_at, each.credential, each.replaces) for each in state.pending]
            shown[address] = (state.owner, present, waiting)
            users |= {state.owner} if state.owner else set()
        for user in users:
            credential = (await auth.aggregates.credentials.load(user)).state
            shown[user] = (credential.generation, credential.hashed is None)
        return shown


async def answer(doing: Awaitable[object]) -> str:
    try:
        await doing
    except VestnikError as error:
        return error.code
    return "ok"


KINDS = ("request", "request", "confirm", "confirm", "confirm", "undo", "end", "reset", "register", "wait")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_at_once_some_order_of_it_explains_who_has_which_address(
    streams: NATS, secrets: Secrets, seed: int
) -> None:
    chance, clock = random.Random(seed), Frozen()
    replicas = Auth(streams, secrets, clock), Auth(streams, secrets, clock)
    for round_ in range(8):
        play = Play(replicas, clock, f"s{seed}r{round_}")
        steps = []
        for _ in range(25):
            kind = chance.choice(KINDS)
            if kind == "wait":
                steps.append((kind, chance.choice([1, 12, 24, 72, 167]), 0))
                clock.now += timedelta(hours=steps[-1][1])
                play.model.now = clock.now
            elif kind == "register":
                address = chance.randrange(len(NAMES))
                steps.append((kind, 0, address))
                await play.register(NAMES[address])
            else:
                batch = [
                    (chance.choice([kind, *KINDS[:-2]]), chance.randrange(6), chance.randrange(4))
                    for _ in range(chance.choice([1, 2, 2, 3]))
                ]
                steps += batch
                try:
                    await play.together(batch)
                except AssertionError as error:
                    raise AssertionError(f"round {round_}, after {steps}") from error
    for auth in replicas:
        auth.passwords.close()
