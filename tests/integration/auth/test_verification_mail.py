"""The verification mail: its tokens, when it is sent again, and when not at all."""

from datetime import datetime, timedelta
from pathlib import Path

from nats.aio.client import Client as NATS

from contracts.durable_consumers import VERIFICATION_MAIL
from contracts.envelope import Provenance
from contracts.events.user import AddressState, EmailClaimed, UserCreated, UsernameClaimed
from contracts.values.ids import new_id
from services.auth.domain import User
from services.auth.mail.templates import Mail
from services.auth.mail.transport import DeliveryFailed, FolderTransport
from services.auth.registration.decisions import Username
from streams.log import Append
from streams.repository import LoadedAggregate
from tests.conditions import until
from tests.integration.auth.accounts import NO_ACTOR
from tests.integration.auth.mail_reactions import Recording, reacting, register, settled, tokens
from tests.integration.auth_and_session import DAY, Auth, Clock, mails, stored


async def test_a_registration_is_followed_by_a_mail_whose_token_verifies(
    replicas: tuple[Auth, Auth], streams: NATS, tmp_path: Path
) -> None:
    auth = replicas[0]
    async with reacting(streams, auth, FolderTransport(tmp_path / "mail", "no-reply@localhost")):
        await register(auth, "anna")
        await until(lambda: len(mails(tmp_path / "mail")) == 1)
        await settled(streams)
    (mail,) = mails(tmp_path / "mail")
    (line,) = [line for line in mail.read_text().splitlines() if line.startswith("Token: ")]
    await auth.commands.verify_email(line.removeprefix("Token: "), NO_ACTOR)
    events = await stored(streams, "AUTH")
    (recorded,) = [event for event in events if event.type == "mail.sent"]
    assert recorded.causation_id == events[0].id


async def test_who_asks_again_gets_one_mail_with_every_pending_registration_and_the_same_ends(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    lapsed = await register(auth, "early", "anna@example.org")
    clock.forward(timedelta(hours=23))
    for name in ("anna", "boris"):
        await register(auth, name, "anna@example.org")
    clock.forward(timedelta(hours=1))
    await auth.commands.resend_verification("Anna@Example.org", NO_ACTOR)
    async with reacting(streams, auth, outbox, clock):
        await settled(streams)
    mails = {mail.kind: mail for mail in outbox.sent}
    again = mails["verification_again"]
    assert [offer.username for offer in again.offers] == ["boris", "anna"]
    assert again.offers[0].link == f"https://chat.example.org/#/confirm/{tokens(again)[0]}"
    alone = [token for mail in outbox.sent if mail.kind == "verification" for token in tokens(mail)]
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
    await auth.commands.resend_verification(spellings[0], NO_ACTOR)

    def again() -> list[tuple[str, list[str]]]:
        mails = [mail for mail in outbox.sent if mail.kind == "verification_again"]
        return [(mail.recipient, [offer.username for offer in mail.offers]) for mail in mails]

    async with reacting(streams, auth, outbox):
        await settled(streams)
        expected = [(spellings[3], ["user3"]), (spellings[2], ["user2"]), (spellings[1], ["user1", "user0"])]
        assert again() == expected
        await streams.jetstream().delete_consumer("AUTH", VERIFICATION_MAIL.name)
        await register(auth, "later")
        await until(lambda: outbox.sent[-1].username == "later")
        await settled(streams)
        assert again() == expected


async def test_a_spelling_whose_mailbox_takes_no_mail_holds_up_none_of_the_others(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    auth = replicas[0]

    class Full(Recording):
        async def send(self, mail: Mail) -> None:
            if mail.recipient == "straße@example.org":
                raise DeliveryFailed("452 full")
            await super().send(mail)

    outbox = Full()
    for name, email in (("anna", "strasse@example.org"), ("boris", "straße@example.org")):
        await register(auth, name, email)
    await auth.commands.resend_verification("strasse@example.org", NO_ACTOR)
    async with reacting(streams, auth, outbox):
        await until(lambda: any(mail.kind == "verification_again" for mail in outbox.sent))
    assert {mail.recipient for mail in outbox.sent} == {"strasse@example.org"}


async def test_nothing_is_sent_for_a_registration_that_was_verified_or_ran_out(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    await register(auth, "verified")
    await auth.commands.verify_email(await auth.token("verified@example.org"), NO_ACTOR)
    await register(auth, "lapsed")
    await register(auth, "first")
    clock.forward(DAY)
    await register(auth, "second", "first@example.org")
    async with reacting(streams, auth, outbox, clock):
        await until(lambda: len(outbox.sent) == 1)
        await settled(streams)
    assert [mail.username for mail in outbox.sent] == ["second"]


async def test_a_mail_that_was_asked_for_by_the_events_of_an_older_form_is_sent(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    auth, outbox = replicas[0], Recording()
    end = clock() + DAY
    claim = await claimed_in_the_older_form(auth, "boris", end)
    async with reacting(streams, auth, outbox):
        await settled(streams)
    (mail,) = outbox.sent
    assert mail.username == "boris"
    assert (await auth.commands.verify_email(tokens(mail)[0], NO_ACTOR)).user_id == claim.envelope.actor


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
