"""The verification mail as a reaction: none lost, none twice, whatever happens to the process that sends it."""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from nats.aio.client import Client as NATS
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from contracts.durable_consumers import SECURITY_NOTICES, VERIFICATION_MAIL
from contracts.envelope import Provenance
from contracts.events.user import (
    AddressState,
    EmailClaimed,
    PasswordChanged,
    PasswordVoided,
    UserCreated,
    UsernameClaimed,
)
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import GetUserRequest
from contracts.values.field_types import LanguageCode
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from infra.rpc.call_context import Call
from infra.security.secrets import Secrets
from services.auth.clients import Sessions
from services.auth.domain import User
from services.auth.mail.templates import Mail
from services.auth.mail.transport import DeliveryFailed, FolderTransport, MailTransport
from services.auth.reactions import AccountMails, SecurityNotices
from services.auth.registration.decisions import Username
from streams.log import Append
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries
from streams.repository import LoadedAggregate
from tests.integration.auth.dying_sender import ACK_WAIT
from tests.integration.auth_and_session import DAY, PASSWORD, Auth, Clock, eventually, mails, running, stored

BY_NOBODY = Provenance(correlation_id="request")
ROOT = Path(__file__).parents[3]


class Recording:
    """Records the mails sent; fails the configured number of times."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[Mail] = []
        self.failures = failures

    async def send(self, letter: Mail) -> None:
        if self.failures:
            self.failures -= 1
            raise DeliveryFailed("451 not now")
        self.sent.append(letter)


class Nobody(Sessions):
    """A session service in which no user has a session."""

    def __init__(self) -> None:
        pass

    async def end_older(
        self, *, user_id: str, event: PasswordChanged | PasswordVoided, provenance: Provenance
    ) -> Position:
        return Position()


@asynccontextmanager
async def reacting(
    nats: NATS,
    auth: Auth,
    outbox: MailTransport,
    clock: Clock | None = None,
    *,
    ack_wait: float = 30.0,
    mails_an_hour: int = 1000,
) -> AsyncIterator[None]:
    delivery = auth.delivery(outbox, mails_an_hour=mails_an_hour)
    clock = clock or Clock()
    page = "https://chat.example.org/"
    account_mails = AccountMails(
        auth.aggregates, auth.tokens, auth.resets, auth.email_change_mails(), delivery, page=page, clock=clock
    )
    notices = SecurityNotices(auth.aggregates, delivery, page=page, clock=clock)
    tasks = {
        asyncio.create_task(
            EventReactor(nats, durable, send, ack_wait=ack_wait, retries=Retries(first_pause=0.05)).run()
        )
        for durable, send in ((VERIFICATION_MAIL, account_mails.send), (SECURITY_NOTICES, notices.send))
    }
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()


async def settled(nats: NATS, *, waiting_notices: int = 0) -> None:
    """Waits until the reactions have dealt with everything that is in the stream."""
    async with asyncio.timeout(60):
        for durable, left in ((VERIFICATION_MAIL, 0), (SECURITY_NOTICES, waiting_notices)):
            while True:
                with suppress(NotFoundError):  # not made yet
                    info = await nats.jetstream().consumer_info("AUTH", durable.name)
                    if info.num_pending == 0 and info.num_ack_pending == left:
                        break
                await asyncio.sleep(0.01)


async def register(auth: Auth, name: str, email: str = "", language: LanguageCode = "en") -> str:
    """The new user's id."""
    user = await auth.commands.register(
        email=email or f"{name}@example.org",
        username=name,
        password=PASSWORD,
        display_name=None,
        provenance=BY_NOBODY,
        language=language,
    )
    return user.user_id


def tokens(letter: Mail) -> list[str]:
    return [offer.token for offer in letter.offers]


async def test_a_registration_is_followed_by_a_mail_whose_token_verifies(
    replicas: tuple[Auth, Auth], streams: NATS, tmp_path: Path
) -> None:
    auth = replicas[0]
    async with reacting(streams, auth, FolderTransport(tmp_path / "mail", "no-reply@localhost")):
        await register(auth, "anna")
        await eventually(lambda: len(mails(tmp_path / "mail")) == 1)
        await settled(streams)
    (mail,) = mails(tmp_path / "mail")
    (line,) = [line for line in mail.read_text().splitlines() if line.startswith("Token: ")]
    await auth.commands.verify_email(line.removeprefix("Token: "), BY_NOBODY)
    events = await stored(streams, "AUTH")
    (recorded,) = [event for event in events if event.type == "mail.sent"]
    assert recorded.causation_id == events[0].id


async def test_two_replicas_share_the_work_and_send_each_mail_once(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    outbox = Recording()
    async with reacting(streams, replicas[0], outbox), reacting(streams, replicas[1], outbox):
        await asyncio.gather(*(register(replicas[number % 2], f"user{number}") for number in range(40)))
        await eventually(lambda: len(outbox.sent) >= 40)
        await settled(streams)
    assert Counter(letter.username for letter in outbox.sent) == {f"user{number}": 1 for number in range(40)}


async def test_a_mail_that_could_not_be_sent_is_tried_again(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    outbox = Recording(failures=3)
    async with reacting(streams, replicas[0], outbox):
        await register(replicas[0], "anna")
        await eventually(lambda: len(outbox.sent) == 1)
        await settled(streams)
    assert outbox.failures == 0


async def test_a_crash_between_sending_and_recording_costs_one_duplicate_at_most(
    replicas: tuple[Auth, Auth],
    streams: NATS,
    nats_server: NatsServer,
    tmp_path: Path,
) -> None:
    auth, folder = replicas[0], tmp_path / "mail"
    await register(auth, "anna")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.auth.dying_sender",
        nats_server.url,
        str(tmp_path / "secrets"),
        str(folder),
        cwd=ROOT,
    )
    assert await asyncio.wait_for(process.wait(), 60) == -9
    assert len(mails(folder)) == 1
    outbox = Recording()
    async with reacting(streams, auth, outbox, ack_wait=ACK_WAIT):
        await eventually(lambda: len(outbox.sent) == 1)
        await settled(streams)
    # The same event, hence the same Message-ID and, for a mail that is a file, the same file.
    assert outbox.sent[0].event_id in mails(folder)[0].name
    await FolderTransport(folder, "no-reply@localhost").send(outbox.sent[0])
    assert len(mails(folder)) == 1
    async with reacting(streams, auth, outbox, ack_wait=ACK_WAIT):
        await settled(streams)
    assert len(outbox.sent) == 1
    assert [event.type for event in await stored(streams, "AUTH")].count("mail.sent") == 1


async def test_even_a_consumer_that_was_lost_sends_nothing_twice(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    outbox = Recording()
    async with reacting(streams, replicas[0], outbox):
        await register(replicas[0], "anna")
        await eventually(lambda: len(outbox.sent) == 1)
        await settled(streams)
        await streams.jetstream().delete_consumer("AUTH", VERIFICATION_MAIL.name)
        await register(replicas[0], "boris")
        await eventually(lambda: len(outbox.sent) == 2)
        await settled(streams)
    assert [letter.username for letter in outbox.sent] == ["anna", "boris"]


async def test_who_asks_again_gets_one_mail_with_every_pending_registration_and_the_same_ends(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    lapsed = await register(auth, "early", "anna@example.org")
    clock.forward(timedelta(hours=23))
    for name in ("anna", "boris"):
        await register(auth, name, "anna@example.org")
    clock.forward(timedelta(hours=1))
    await auth.commands.resend_verification("Anna@Example.org", BY_NOBODY)
    async with reacting(streams, auth, outbox, clock):
        await settled(streams)
    mails = {letter.kind: letter for letter in outbox.sent}
    again = mails["verification_again"]
    assert [offer.username for offer in again.offers] == ["boris", "anna"]
    assert again.offers[0].link == f"https://chat.example.org/#/confirm/{tokens(again)[0]}"
    alone = [token for letter in outbox.sent if letter.kind == "verification" for token in tokens(letter)]
    # What was mailed before is mailed again, and none of it lasts longer; what ran out is not among it.
    assert sorted(alone) == sorted(tokens(again))
    assert lapsed not in {auth.tokens.read(token).user_id for token in tokens(again)}


async def test_who_asks_again_gets_no_token_of_another_spelling_that_can_be_another_mailbox(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    auth, outbox = replicas[0], Recording()
    spellings = ("strasse@example.org", "STRASSE@example.org", "straße@example.org", "\u017ftrasse@example.org")
    for number, email in enumerate(spellings):
        await register(auth, f"user{number}", email)
    await auth.commands.resend_verification(spellings[0], BY_NOBODY)

    def again() -> list[tuple[str, list[str]]]:
        mails = [letter for letter in outbox.sent if letter.kind == "verification_again"]
        return [(letter.recipient, [offer.username for offer in letter.offers]) for letter in mails]

    async with reacting(streams, auth, outbox):
        await settled(streams)
        expected = [(spellings[3], ["user3"]), (spellings[2], ["user2"]), (spellings[1], ["user1", "user0"])]
        assert again() == expected
        await streams.jetstream().delete_consumer("AUTH", VERIFICATION_MAIL.name)
        await register(auth, "later")
        await eventually(lambda: outbox.sent[-1].username == "later")
        await settled(streams)
        assert again() == expected


async def test_a_spelling_whose_mailbox_takes_no_mail_holds_up_none_of_the_others(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    auth = replicas[0]

    class Full(Recording):
        async def send(self, letter: Mail) -> None:
            if letter.recipient == "straße@example.org":
                raise DeliveryFailed("452 full")
            await super().send(letter)

    outbox = Full()
    for name, email in (("anna", "strasse@example.org"), ("boris", "straße@example.org")):
        await register(auth, name, email)
    await auth.commands.resend_verification("strasse@example.org", BY_NOBODY)
    async with reacting(streams, auth, outbox):
        await eventually(lambda: any(letter.kind == "verification_again" for letter in outbox.sent))
    assert {letter.recipient for letter in outbox.sent} == {"strasse@example.org"}


async def test_nothing_is_sent_for_a_registration_that_was_verified_or_ran_out(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "verified")
    await auth.commands.verify_email(await auth.token("verified@example.org"), BY_NOBODY)
    await register(auth, "lapsed")
    await register(auth, "first")
    clock.forward(DAY)
    await register(auth, "second", "first@example.org")
    async with reacting(streams, auth, outbox, clock):
        await eventually(lambda: len(outbox.sent) == 1)
        await settled(streams)
    assert [letter.username for letter in outbox.sent] == ["second"]


async def test_the_holder_of_a_taken_address_gets_a_notice_and_nobody_a_token(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "anna", "Anna@example.org")
    await auth.commands.verify_email(await auth.token("anna@example.org"), BY_NOBODY)
    await register(auth, "boris", "anna@EXAMPLE.org")
    async with reacting(streams, auth, outbox):
        await settled(streams)
    (letter,) = outbox.sent
    assert (letter.kind, letter.recipient, letter.username, letter.offers) == (
        "address_taken",
        "Anna@example.org",
        "anna",
        (),
    )


async def test_notices_to_one_mailbox_are_merged_and_none_is_dropped(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    for name, email in (("anna", "anna@example.org"), ("anna2", "anna+2@example.org")):
        await register(auth, name, email)
        await auth.commands.verify_email(await auth.token(email), BY_NOBODY)

    def notices() -> list[str]:
        return [letter.username for letter in outbox.sent if letter.kind == "address_taken"]

    async with reacting(streams, auth, outbox, clock):
        await register(auth, "first", "anna@example.org")
        await eventually(lambda: notices() == ["anna"])
        for number in range(30):
            await register(auth, f"flood{number}", "anna@example.org")
        await register(auth, "second", "anna+2@example.org")
        # The newest registration on each of the two addresses waits.
        await settled(streams, waiting_notices=2)
        assert notices() == ["anna"]
        clock.forward(timedelta(hours=1))
        await eventually(lambda: len(notices()) == 3)
        await settled(streams)
    assert sorted(notices()) == ["anna", "anna", "anna2"]


async def test_notices_that_wait_for_their_hour_hold_up_no_others_and_are_no_warning(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    auth, outbox = replicas[0], Recording()
    jetstream, name = streams.jetstream(), SECURITY_NOTICES.name
    for durable in (VERIFICATION_MAIL, SECURITY_NOTICES):
        await jetstream.add_consumer(
            "AUTH",
            # With a lower limit, as it was made before.
            ConsumerConfig(
                name=durable.name,
                durable_name=durable.name,
                filter_subject=durable.subject_filter,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=30,
                max_deliver=-1,
                max_ack_pending=1_000,
            ),
        )
    await register(auth, "anna")
    await auth.commands.verify_email(await auth.token("anna@example.org"), BY_NOBODY)
    with caplog.at_level(logging.INFO):
        async with reacting(streams, auth, outbox, clock):
            await register(auth, "first", "anna@example.org")
            await eventually(lambda: any(letter.kind == "address_taken" for letter in outbox.sent))
            await register(auth, "second", "anna@example.org")
            await settled(streams, waiting_notices=1)
            await eventually(lambda: any(f"{name} retries event" in record.message for record in caplog.records))
    for durable in (VERIFICATION_MAIL, SECURITY_NOTICES):
        assert (await jetstream.consumer_info("AUTH", durable.name)).config.max_ack_pending == 100_000
    assert {record.levelno for record in caplog.records if f"{name} retries event" in record.message} == {logging.INFO}


async def test_a_mailbox_gets_no_more_mails_of_a_kind_in_an_hour_than_its_budget(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    async with reacting(streams, auth, outbox, clock, mails_an_hour=3):
        for number in range(12):
            await register(auth, f"user{number}", f"anna{f'+{number}' if number else ''}@example.org")
        await register(auth, "boris")
        await settled(streams)
        await auth.commands.resend_verification("anna@example.org", BY_NOBODY)
        await settled(streams)
        kinds = Counter((letter.kind, letter.recipient.partition("@")[0].partition("+")[0]) for letter in outbox.sent)
        assert kinds == {("verification", "anna"): 3, ("verification", "boris"): 1, ("verification_again", "anna"): 1}
        clock.forward(timedelta(hours=1))
        await register(auth, "later", "anna@example.org")
        await settled(streams)
    assert [letter.username for letter in outbox.sent][-1] == "later"


async def test_a_mail_that_was_asked_for_by_the_events_of_an_older_form_is_sent(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    end = clock() + DAY
    claim = await claimed_in_the_older_form(auth, "boris", end)
    async with reacting(streams, auth, outbox):
        await settled(streams)
    (letter,) = outbox.sent
    assert letter.username == "boris"
    assert (await auth.commands.verify_email(tokens(letter)[0], BY_NOBODY)).user_id == claim.envelope.actor


async def claimed_in_the_older_form(auth: Auth, name: str, end: datetime) -> Append:
    """A registration in the older form: an event that claims the address."""
    user_id, email = new_id(), f"{name}@example.org"
    aggregates, provenance = auth.aggregates, Provenance(actor=user_id)
    claim = EmailClaimed(user_id=user_id, email=email, username=name, expires_at=end)
    nothing = LoadedAggregate(AddressState(), 0, 0)
    (address,) = aggregates.addresses.appends(auth.keys.of_email(email), nothing, (claim,), provenance)
    (username,) = aggregates.usernames.appends(
        auth.keys.of_username(name), LoadedAggregate(Username(), 0, 0), (UsernameClaimed(user_id=user_id),), provenance
    )
    (user,) = aggregates.users.appends(
        user_id, LoadedAggregate(User(), 0, 0), (UserCreated(username=name),), provenance
    )
    await aggregates.log.append_together([address, username, user])
    return address


async def test_mails_go_on_after_the_event_store_was_killed(
    replicas: tuple[Auth, Auth], streams: NATS, nats_server: NatsServer
) -> None:
    outbox = Recording()
    async with reacting(streams, replicas[0], outbox):
        await register(replicas[0], "anna")
        await eventually(lambda: len(outbox.sent) == 1)
        await settled(streams)
        nats_server.kill()
        await nats_server.start()
        await register(replicas[0], "boris")
        await eventually(lambda: len(outbox.sent) == 2)
    assert [letter.username for letter in outbox.sent] == ["anna", "boris"]


async def test_after_the_database_was_lost_users_are_back_and_no_mail_goes_out_again(
    replicas: tuple[Auth, Auth], streams: NATS, secrets: Secrets, database_url: str
) -> None:
    outbox, user_ids = Recording(), set[str]()
    async with running(streams, database_url, secrets), reacting(streams, replicas[0], outbox):
        for number in range(5):
            await register(replicas[0], f"user{number}")
        await eventually(lambda: len(outbox.sent) == 5)
        await settled(streams)
        user_ids = {replicas[0].tokens.read(token).user_id for letter in outbox.sent for token in tokens(letter)}
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA public CASCADE")
        await connection.execute("CREATE SCHEMA public")
    async with running(streams, database_url, secrets) as services, reacting(streams, replicas[1], outbox):
        for user_id in user_ids:
            answer = await services.to_auth.call(
                services.auth.get_user,
                GetUserRequest(user_id=user_id),
                context=Call(request_id="request", actor=user_id),
            )
            assert answer.user is not None
            assert answer.user.email == f"{answer.user.username}@example.org"
        await settled(streams)
    assert len(user_ids) == len(outbox.sent) == 5


async def test_a_reset_that_was_asked_for_is_followed_by_one_mail_whose_token_is_good(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "anna")
    await auth.commands.verify_email(await auth.token("anna@example.org"), BY_NOBODY)
    changes = auth.changes(Nobody())
    await asyncio.gather(*(changes.request_reset("anna@example.org", BY_NOBODY) for _ in range(5)))
    async with reacting(streams, replicas[0], outbox), reacting(streams, replicas[1], outbox):
        await settled(streams)
    (letter,) = outbox.sent
    assert (letter.kind, letter.recipient) == ("password_reset", "anna@example.org")
    await changes.reset(token=tokens(letter)[0], new="another horse", provenance=BY_NOBODY)
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
        sent = [(letter.username, letter.kind, letter.language) for letter in outbox.sent]
        mailed.extend(outbox.sent)
        outbox.sent.clear()
        return sorted(sent)

    await register(auth, "anna", language="ru")
    await register(auth, "boris", language="en")
    for email in ("anna@example.org", "boris@example.org"):
        await auth.commands.resend_verification(email, BY_NOBODY)
    assert await mails_of_a_new_process() == [
        ("anna", "verification", "ru"),
        ("anna", "verification_again", "ru"),
        ("boris", "verification", "en"),
        ("boris", "verification_again", "en"),
    ]
    changes = auth.changes(Nobody())
    others: tuple[tuple[str, LanguageCode], ...] = (("anna", "en"), ("boris", "ru"))
    for name, other in others:
        await auth.commands.verify_email(await auth.token(f"{name}@example.org"), BY_NOBODY)
        await changes.request_reset(f"{name}@example.org", BY_NOBODY)
        # The language of another registration with the address is not that of its owner's mails.
        await register(auth, f"not_{name}", f"{name}@example.org", language=other)
    assert await mails_of_a_new_process() == [
        ("anna", "address_taken", "ru"),
        ("anna", "password_reset", "ru"),
        ("boris", "address_taken", "en"),
        ("boris", "password_reset", "en"),
    ]
    links = {letter.kind: letter.link or letter.offers[0].link for letter in mailed if letter.username == "anna"}
    assert links["address_taken"] == "https://chat.example.org/"
    assert links["password_reset"].startswith("https://chat.example.org/#/reset/")
    assert links["verification_again"].startswith("https://chat.example.org/#/confirm/")


async def test_a_reset_mail_that_is_of_no_use_any_more_is_not_sent(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "anna")
    await auth.commands.verify_email(await auth.token("anna@example.org"), BY_NOBODY)
    changes = auth.changes(Nobody())
    await changes.request_reset("anna@example.org", BY_NOBODY)
    await changes.reset(token=await auth.reset_token("anna@example.org"), new="another horse", provenance=BY_NOBODY)
    async with reacting(streams, auth, outbox):
        await settled(streams)
    assert outbox.sent == []
