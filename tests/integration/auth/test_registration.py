"""Registration over real streams: of many who want the same, exactly one gets it, whichever replica they ask."""

import asyncio
from datetime import timedelta

import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance
from contracts.errors import EmailTaken, TokenExpired, UsernameTaken
from contracts.event import Event
from contracts.events.user import EmailClaimed, EmailVerified
from contracts.identifiers import new_id
from infra.secrets import Secrets
from services.auth.commands import Registered, Verified
from services.auth.email_keys import email_key
from tests.integration.accounts import DAY, PASSWORD, Auth, Clock, stored

BY_NOBODY = Provenance(correlation_id="request")


async def register(auth: Auth, email: str, username: str) -> Registered:
    return await auth.commands.register(
        email=email, username=username, password=PASSWORD, display_name=None, provenance=BY_NOBODY
    )


async def verify(auth: Auth, token: str) -> None:
    await auth.commands.verify_email(token, BY_NOBODY)


async def test_a_registration_is_one_batch_with_the_public_event_last(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    user = await register(replicas[0], "Anna@example.org", "Anna")
    events = await stored(streams, "AUTH")
    assert [event.type for event in events] == [
        "email.claimed",
        "username.claimed",
        "credential.set",
        "user.created",
    ]
    assert events[-1].sequence == user.sequence
    assert events[-1].subject == f"vestnik.auth.user.{user.user_id}"
    assert user.username == "anna"
    assert user.email == "Anna@example.org"


async def test_of_two_at_once_with_one_address_one_is_refused(replicas: tuple[Auth, Auth]) -> None:
    for round_ in range(10):
        email = f"anna{round_}@example.org"
        answers = await asyncio.gather(
            register(replicas[0], email, f"one{round_}"),
            register(replicas[1], email.upper(), f"two{round_}"),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["EmailTaken", "Registered"]


async def test_of_two_at_once_with_one_username_one_is_refused(replicas: tuple[Auth, Auth]) -> None:
    for round_ in range(10):
        answers = await asyncio.gather(
            register(replicas[0], f"one{round_}@example.org", f"anna{round_}"),
            register(replicas[1], f"two{round_}@example.org", f"ANNA{round_}"),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Registered", "UsernameTaken"]


async def test_of_twenty_at_once_one_is_registered_and_nothing_is_left_of_the_others(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    answers = await asyncio.gather(
        *(register(replicas[number % 2], "anna@example.org", "anna") for number in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Registered) for answer in answers) == 1
    # Which of the two refusals comes depends on which claim was looked at first after the winner's batch.
    assert sum(isinstance(answer, EmailTaken | UsernameTaken) for answer in answers) == 19
    assert len(await stored(streams, "AUTH")) == 4


async def test_a_replica_that_remembers_a_free_address_learns_that_it_is_taken(
    replicas: tuple[Auth, Auth],
) -> None:
    one, other = replicas
    await register(one, "first@example.org", "anna")
    with pytest.raises(UsernameTaken):  # the other has now seen the address free
        await register(other, "anna@example.org", "anna")
    await register(one, "anna@example.org", "boris")
    with pytest.raises(EmailTaken):
        await register(other, "anna@example.org", "clara")


async def test_a_token_verifies_once_and_is_good_for_ever(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    user = await register(one, "anna@example.org", "anna")
    token = await one.token("anna@example.org")
    first = await one.commands.verify_email(token, BY_NOBODY)
    clock.forward(100 * DAY)
    again = await other.commands.verify_email(token, BY_NOBODY)
    assert first == again
    assert first.user_id == user.user_id
    types = [event.type for event in await stored(streams, "AUTH")]
    assert types[4:] == ["email.verified", "user.email_verified"]


async def test_a_token_used_by_many_at_once_verifies_once(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    await register(replicas[0], "anna@example.org", "anna")
    token = await replicas[0].token("anna@example.org")
    await asyncio.gather(*(verify(replicas[number % 2], token) for number in range(10)))
    assert len(await stored(streams, "AUTH")) == 6


async def test_a_lapsed_address_is_taken_over_and_its_old_token_is_void(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    await register(one, "anna@example.org", "anna")
    old = await one.token("anna@example.org")
    clock.forward(2 * DAY)
    with pytest.raises(UsernameTaken):  # the name stays with whoever had it first
        await register(other, "anna@example.org", "anna")
    boris = await register(other, "anna@example.org", "boris")
    with pytest.raises(TokenExpired):
        await verify(one, old)
    assert (await one.commands.verify_email(await one.token("anna@example.org"), BY_NOBODY)).user_id == boris.user_id


async def test_verifying_and_taking_over_exclude_each_other(streams: NATS, secrets: Secrets) -> None:
    """Their clocks differ, so that the claim is good for the one and has lapsed for the other."""
    ahead = Clock()
    ahead.forward(DAY + timedelta(minutes=1))
    on_time, early = Auth(streams, secrets), Auth(streams, secrets, ahead)
    for round_ in range(20):
        email = f"anna{round_}@example.org"
        anna = await register(on_time, email, f"anna{round_}")
        verified, taken = await asyncio.gather(
            on_time.commands.verify_email(await on_time.token(email), BY_NOBODY),
            register(early, email, f"boris{round_}"),
            return_exceptions=True,
        )
        claim = (await on_time.aggregates.email_claims.load(on_time.keys.of_email(email))).state
        if isinstance(taken, Registered):
            assert isinstance(verified, TokenExpired)
            assert (claim.holder, claim.verified) == (taken.user_id, False)
        else:
            assert isinstance(taken, EmailTaken)
            assert isinstance(verified, Verified)
            assert (claim.holder, claim.verified) == (anna.user_id, True)


async def test_asking_for_another_mail_prolongs_the_claim_of_whoever_waits(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    await register(one, "anna@example.org", "anna")
    clock.forward(DAY / 2)
    await other.commands.resend_verification("ANNA@example.org", BY_NOBODY)
    clock.forward(DAY / 2)
    with pytest.raises(EmailTaken):
        await register(one, "anna@example.org", "boris")
    await verify(other, await other.token("anna@example.org"))
    before = len(await stored(streams, "AUTH"))
    await one.commands.resend_verification("anna@example.org", BY_NOBODY)
    await one.commands.resend_verification("nobody@example.org", BY_NOBODY)
    after = [event.type for event in (await stored(streams, "AUTH"))[before:]]
    assert after == ["mail.not_due", "mail.not_due"]


async def registered_before(auth: Auth, email: str, key: str) -> str:
    """A verified account from before all spellings of an address shared a key; its id."""
    user_id = new_id()
    events: tuple[Event, ...] = (
        EmailClaimed(user_id=user_id, email=email, username="anna", expires_at=auth.clock() + DAY),
        EmailVerified(user_id=user_id),
    )
    await auth.aggregates.email_claims.execute(key, lambda _: events, BY_NOBODY)
    return user_id


@pytest.mark.parametrize("spelled", ["a@exämple.org", "a@xn--exmple-cua.org"])
async def test_an_address_in_another_script_from_before_is_found_by_every_spelling(
    replicas: tuple[Auth, Auth], spelled: str
) -> None:
    one, other = replicas
    before = one.keys.of_text(spelled)
    await registered_before(one, spelled, before)
    for spelling in ("a@exämple.org", "A@xn--exmple-cua.org", "a@EXÄMPLE.org"):
        assert await email_key(other.aggregates.email_claims, other.keys, spelling) == before
        with pytest.raises(EmailTaken):
            await register(other, spelling, "boris")


async def test_of_two_accounts_from_before_with_one_address_each_answers_to_its_own_spelling(
    replicas: tuple[Auth, Auth],
) -> None:
    one, other = replicas
    for spelling in ("a@exämple.org", "a@xn--exmple-cua.org"):
        await registered_before(one, spelling, one.keys.of_text(spelling))
        found = await email_key(other.aggregates.email_claims, other.keys, spelling)
        assert found == one.keys.of_text(spelling)


async def test_the_address_that_an_older_folding_took_for_this_one_is_another(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    await registered_before(one, "a@strasse.de", one.keys.of_text("a@strasse.de"))
    assert (await register(other, "a@straße.de", "boris")).email == "a@straße.de"
