"""Mails about a change of the address: to whom, in which language, and never twice."""

import asyncio
import logging
import re

import pytest
from nats.aio.client import Client as NATS

from contracts.durable_consumers import VERIFICATION_MAIL
from services.auth.domain import RESET_PAUSE
from services.auth.email_change.decisions import HELD
from services.auth.mail.texts import VOID_PASSWORD
from services.auth.tokens.password_reset import Reset
from tests.integration.auth.accounts import NO_ACTOR, Account, account, change, register, request, undo, undo_token
from tests.integration.auth.mail_reactions import Recording, reacting, settled
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import DAY, HOUR, PASSWORD, Auth, Clock


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


async def test_both_addresses_receive_a_reset_for_a_week(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    outbox = Recording()
    async with reacting(streams, one, outbox, clock):
        for email in ("anna@example.org", "thief@example.org"):
            await other.changes(NoSessions()).request_reset(email, NO_ACTOR)
        await settled(streams)
        resets = [mail for mail in outbox.sent if mail.kind == "password_reset"]
        assert [mail.recipient for mail in resets] == ["anna@example.org", "thief@example.org"]
        # The password is not void.
        assert [mail.text for mail in resets] == ["", ""]
        clock.forward(HELD)
        await other.changes(NoSessions()).request_reset("anna@example.org", NO_ACTOR)
        await settled(streams)
    assert len([mail for mail in outbox.sent if mail.kind == "password_reset"]) == 2
    await other.changes(NoSessions()).reset(
        token=one.resets.sign(Reset(user_id=anna.user_id, credential=1, expires_at=clock() + HOUR)),
        new="another horse",
        provenance=NO_ACTOR,
    )


async def test_a_change_is_followed_by_its_mails_in_the_accounts_language(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    user = await one.commands.register(
        email="Anna@example.org",
        username="anna",
        password=PASSWORD,
        display_name=None,
        provenance=NO_ACTOR,
        language="ru",
    )
    await one.commands.verify_email(await one.token("anna@example.org"), NO_ACTOR)
    anna = Account(user.user_id, "Anna@example.org")
    outbox = Recording()

    def sent() -> list[tuple[str, str, str]]:
        mails = [(mail.kind, mail.recipient, mail.language) for mail in outbox.sent]
        outbox.sent.clear()
        return sorted(mails)

    async with reacting(streams, one, outbox, clock):
        await request(other, anna, "New@example.org")
        await settled(streams)
        (mail,) = [mail for mail in outbox.sent if mail.kind == "email_change"]
        assert mail.offers[0].link == f"https://chat.example.org/#/confirm/{mail.offers[0].token}"
        (notice,) = [mail for mail in outbox.sent if mail.kind == "email_change_requested"]
        report = one.reported.read(notice.link.removeprefix("https://chat.example.org/#/not-me/"))
        assert (report.user_id, report.credential) == (anna.user_id, 1)
        assert sent() == [
            ("email_change", "New@example.org", "ru"),
            ("email_change_requested", "Anna@example.org", "ru"),
        ]
        await other.commands.verify_email(mail.offers[0].token, NO_ACTOR, password=PASSWORD)
        await settled(streams)
        (mail,) = outbox.sent
        assert mail.offers[0].link == f"https://chat.example.org/#/undo-email-change/{mail.offers[0].token}"
        assert sent() == [("email_changed", "Anna@example.org", "ru")]
        await undo(other, mail.offers[0].token)
        await settled(streams)
        assert sent() == [
            ("email_change_undone", "New@example.org", "ru"),
            ("password_reset_after_undo", "Anna@example.org", "ru"),
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


async def test_requests_for_resets_by_others_do_not_use_up_the_mail_after_an_undo(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    anna = await account(one, "anna")
    await change(one, anna, "thief@example.org")
    token = await undo_token(one, anna, "anna@example.org")
    outbox = Recording()
    async with reacting(streams, one, outbox, clock, mails_an_hour=1):
        await other.changes(NoSessions()).request_reset("anna@example.org", NO_ACTOR)
        await settled(streams)
        await undo(other, token)
        await settled(streams)
        # The budget of the mails that anyone may request is the same as before.
        clock.forward(2 * RESET_PAUSE)
        await other.changes(NoSessions()).request_reset("anna@example.org", NO_ACTOR)
        await settled(streams)
    resets = [(mail.kind, mail.recipient, mail.text) for mail in outbox.sent if mail.kind.startswith("password_reset")]
    assert resets == [
        ("password_reset", "anna@example.org", ""),
        ("password_reset_after_undo", "anna@example.org", VOID_PASSWORD),
    ]
