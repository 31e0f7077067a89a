"""Mails of an account: their language, how many a mailbox gets, and the mail that resets the password."""

import asyncio
from collections import Counter
from datetime import timedelta

from nats.aio.client import Client as NATS

from contracts.values.field_types import LanguageCode
from infra.security.secrets import Secrets
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth.mail_reactions import Recording, reacting, register, settled, tokens
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import Auth, Clock, stored


async def test_a_mailbox_gets_no_more_mails_of_a_kind_in_an_hour_than_its_budget(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    async with reacting(streams, auth, outbox, clock, mails_an_hour=3):
        for number in range(12):
            await register(auth, f"user{number}", f"anna{f'+{number}' if number else ''}@example.org")
        await register(auth, "boris")
        await settled(streams)
        await auth.commands.resend_verification("anna@example.org", NO_ACTOR)
        await settled(streams)
        kinds = Counter((mail.kind, mail.recipient.partition("@")[0].partition("+")[0]) for mail in outbox.sent)
        assert kinds == {("verification", "anna"): 3, ("verification", "boris"): 1, ("verification_again", "anna"): 1}
        clock.forward(timedelta(hours=1))
        await register(auth, "later", "anna@example.org")
        await settled(streams)
    assert [mail.username for mail in outbox.sent][-1] == "later"


async def test_a_reset_that_was_asked_for_is_followed_by_one_mail_whose_token_is_good(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "anna")
    await auth.commands.verify_email(await auth.token("anna@example.org"), NO_ACTOR)
    changes = auth.changes(NoSessions())
    await asyncio.gather(*(changes.request_reset("anna@example.org", NO_ACTOR) for _ in range(5)))
    async with reacting(streams, replicas[0], outbox), reacting(streams, replicas[1], outbox):
        await settled(streams)
    (mail,) = outbox.sent
    assert (mail.kind, mail.recipient) == ("password_reset", "anna@example.org")
    await changes.reset(token=tokens(mail)[0], new="another horse", provenance=NO_ACTOR)
    types = [event.type for event in await stored(streams, "AUTH")]
    assert types[-2:] == ["mail.sent", "password.changed"]


async def test_every_mail_of_an_account_is_in_its_language_also_from_a_process_that_starts_later(
    replicas: tuple[Auth, Auth], streams: NATS, secrets: Secrets, clock: Clock
) -> None:
    auth, outbox, mailed = replicas[0], Recording(), []

    async def mails_of_a_new_process() -> list[tuple[str, str, str]]:
        started = Auth(streams, secrets, clock)
        async with reacting(streams, started, outbox, clock):
            await settled(streams)
        started.passwords.close()
        sent = [(mail.username, mail.kind, mail.language) for mail in outbox.sent]
        mailed.extend(outbox.sent)
        outbox.sent.clear()
        return sorted(sent)

    await register(auth, "anna", language="ru")
    await register(auth, "boris", language="en")
    for email in ("anna@example.org", "boris@example.org"):
        await auth.commands.resend_verification(email, NO_ACTOR)
    assert await mails_of_a_new_process() == [
        ("anna", "verification", "ru"),
        ("anna", "verification_again", "ru"),
        ("boris", "verification", "en"),
        ("boris", "verification_again", "en"),
    ]
    changes = auth.changes(NoSessions())
    others: tuple[tuple[str, LanguageCode], ...] = (("anna", "en"), ("boris", "ru"))
    for name, other in others:
        await auth.commands.verify_email(await auth.token(f"{name}@example.org"), NO_ACTOR)
        await changes.request_reset(f"{name}@example.org", NO_ACTOR)
        # The language of another registration with the address is not that of its owner's mails.
        await register(auth, f"not_{name}", f"{name}@example.org", language=other)
    assert await mails_of_a_new_process() == [
        ("anna", "address_taken", "ru"),
        ("anna", "password_reset", "ru"),
        ("boris", "address_taken", "en"),
        ("boris", "password_reset", "en"),
    ]
    links = {mail.kind: mail.link or mail.offers[0].link for mail in mailed if mail.username == "anna"}
    assert links["address_taken"] == "https://chat.example.org/"
    assert links["password_reset"].startswith("https://chat.example.org/#/reset/")
    assert links["verification_again"].startswith("https://chat.example.org/#/confirm/")


async def test_a_reset_mail_that_is_of_no_use_any_more_is_not_sent(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "anna")
    await auth.commands.verify_email(await auth.token("anna@example.org"), NO_ACTOR)
    changes = auth.changes(NoSessions())
    await changes.request_reset("anna@example.org", NO_ACTOR)
    await changes.reset(token=await auth.reset_token("anna@example.org"), new="another horse", provenance=NO_ACTOR)
    async with reacting(streams, auth, outbox):
        await settled(streams)
    assert outbox.sent == []
