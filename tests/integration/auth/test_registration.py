"""Registration over real streams: of several concurrent claims exactly one succeeds, with any replica."""

import asyncio
from datetime import datetime, timedelta

import bcrypt
import pytest
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.errors import InvalidToken, PasswordRequired, TokenExpired, UsernameTaken
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    CredentialSet,
    EmailClaimed,
    EmailReleased,
    EmailVerified,
    UserCreated,
    UserEmailVerified,
    UsernameClaimed,
)
from contracts.values.ids import new_id
from infra.security.secrets import Secrets
from services.auth.commands import PendingName, Registered, Verified
from services.auth.domain import Credential, User
from services.auth.registration.decisions import Username
from services.auth.registration.email_lookup import email_key
from services.auth.tokens.email_verification import Verification
from streams.message import Message
from streams.repository import LoadedAggregate
from tests.integration.auth.accounts import NO_ACTOR, log_in, register, verify
from tests.integration.auth_and_session import DAY, PASSWORD, Auth, Clock, stored


@pytest.mark.parametrize("owned", [False, True])
async def test_a_registration_is_the_same_batch_whether_the_address_has_an_owner_or_not(
    replicas: tuple[Auth, Auth], streams: NATS, owned: bool
) -> None:
    if owned:
        await register(replicas[0], "anna@example.org", "owner")
        await verify(replicas[0], await replicas[0].token("anna@example.org"))
    before = len(await stored(streams, "AUTH"))
    user = await register(replicas[0], "Anna@example.org", "Anna")
    events = (await stored(streams, "AUTH"))[before:]
    assert [event.type for event in events] == [
        "email.registration_requested",
        "username.claimed",
        "credential.set",
        "user.created",
    ]
    assert events[-1].sequence == user.sequence
    assert events[-1].subject == f"vestnik.auth.user.{user.user_id}"
    assert user.username == "anna"
    assert user.email == "Anna@example.org"


async def test_nothing_that_can_be_asked_tells_whether_an_address_has_an_account(replicas: tuple[Auth, Auth]) -> None:
    """The user id, the name registered again, a login by name and by address."""
    auth = replicas[0]
    await register(auth, "taken@example.org", "owner")
    await verify(auth, await auth.token("taken@example.org"))
    answers = []
    for kind in ("taken", "fresh"):
        user = await register(auth, f"{kind}@example.org", f"probe_{kind}", "a probe's password")
        state = (await replicas[1].aggregates.users.load(user.user_id)).state
        with pytest.raises(UsernameTaken):
            await register(replicas[1], "other@example.org", f"probe_{kind}")
        answers.append(
            (
                state.email_verified,
                await log_in(auth, f"probe_{kind}", "a probe's password"),
                await log_in(auth, f"{kind}@example.org", "a probe's password"),
                await log_in(auth, f"probe_{kind}", "another password"),
            )
        )
    assert answers[0] == answers[1] == (False, "email_not_verified", "invalid_credentials", "invalid_credentials")


async def test_of_two_at_once_with_one_username_one_is_refused(replicas: tuple[Auth, Auth]) -> None:
    for round_ in range(10):
        answers = await asyncio.gather(
            register(replicas[0], f"one{round_}@example.org", f"anna{round_}"),
            register(replicas[1], f"two{round_}@example.org", f"ANNA{round_}"),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Registered", "UsernameTaken"]


async def test_of_twenty_at_once_with_one_name_one_is_registered_and_nothing_is_left_of_the_others(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    answers = await asyncio.gather(
        *(register(replicas[number % 2], "anna@example.org", "anna") for number in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Registered) for answer in answers) == 1
    assert sum(isinstance(answer, UsernameTaken) for answer in answers) == 19
    assert len(await stored(streams, "AUTH")) == 4


async def test_a_replica_that_remembers_a_free_name_learns_that_it_is_taken(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    await register(one, "first@example.org", "anna")
    await register(other, "second@example.org", "boris")
    for auth, name in ((one, "boris"), (other, "anna")):
        with pytest.raises(UsernameTaken):
            await register(auth, "third@example.org", name)


async def test_a_token_verifies_once_and_is_good_for_ever(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    user = await register(one, "anna@example.org", "anna")
    token = await one.token("anna@example.org")
    first = await one.commands.verify_email(token, NO_ACTOR)
    clock.forward(100 * DAY)
    again = await other.commands.verify_email(token, NO_ACTOR)
    assert first == again
    assert first.user_id == user.user_id
    types = [event.type for event in await stored(streams, "AUTH")]
    assert types[4:] == ["email.verified", "username.confirmed", "user.email_verified"]


async def test_a_token_used_by_many_at_once_verifies_once(replicas: tuple[Auth, Auth], streams: NATS) -> None:
    await register(replicas[0], "anna@example.org", "anna")
    token = await replicas[0].token("anna@example.org")
    await asyncio.gather(*(verify(replicas[number % 2], token) for number in range(10)))
    assert len(await stored(streams, "AUTH")) == 7


async def test_while_several_registrations_are_pending_a_token_needs_its_registrations_password(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    await register(one, "anna@example.org", "intruder", "an unknown horse")
    intruders = await one.token("anna@example.org")
    clock.forward(DAY / 2)
    anna = await register(other, "anna@example.org", "anna")
    token = await one.token("anna@example.org")
    for password in (None, PASSWORD, "x"):
        with pytest.raises(PasswordRequired):
            await other.commands.verify_email(intruders, NO_ACTOR, password=password)
    # The token is judged before the password.
    with pytest.raises(InvalidToken):
        await one.commands.verify_email("nonsense", NO_ACTOR)
    verified = await one.commands.verify_email(token, NO_ACTOR, password=PASSWORD)
    assert verified.user_id == anna.user_id
    with pytest.raises(TokenExpired):
        await verify(other, intruders)
    assert await log_in(other, "anna@example.org") == anna.user_id
    await verify(other, token)  # a second use needs none


async def test_no_password_is_needed_once_the_other_registrations_ran_out(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    await register(one, "anna@example.org", "early")
    clock.forward(DAY / 2)
    await register(other, "anna@example.org", "anna")
    token = await one.token("anna@example.org")
    clock.forward(DAY / 2)
    await verify(one, token)


async def test_of_two_verifications_on_one_address_at_once_one_wins(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    for round_ in range(10):
        email = f"anna{round_}@example.org"
        users, tokens = [], []
        for auth, name in ((one, f"one{round_}"), (other, f"two{round_}")):
            users.append((await register(auth, email, name)).user_id)
            tokens.append(await auth.token(email))
        answers = await asyncio.gather(
            one.commands.verify_email(tokens[0], NO_ACTOR, password=PASSWORD),
            other.commands.verify_email(tokens[1], NO_ACTOR, password=PASSWORD),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["TokenExpired", "Verified"]
        (winner,) = [answer.user_id for answer in answers if isinstance(answer, Verified)]
        for auth in replicas:
            address = (await auth.aggregates.addresses.load(auth.keys.of_email(email))).state
            assert (address.owner, address.pending) == (winner, ())
            verified = [(await auth.aggregates.users.load(user)).state.email_verified for user in users]
            assert verified == [user == winner for user in users]


async def test_the_name_of_a_registration_that_ran_out_is_free_and_its_token_void(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    await register(one, "anna@example.org", "anna")
    old = await one.token("anna@example.org")
    clock.forward(DAY)
    assert await log_in(other, "anna") == "invalid_credentials"
    with pytest.raises(TokenExpired):
        await verify(one, old)
    boris = await register(other, "boris@example.org", "anna")
    with pytest.raises(TokenExpired):
        await verify(one, old)
    await verify(one, await one.token("boris@example.org"))
    assert await log_in(one, "anna") == boris.user_id
    clock.forward(100 * DAY)
    with pytest.raises(UsernameTaken):
        await register(one, "clara@example.org", "anna")


async def test_verifying_and_taking_over_a_name_exclude_each_other(streams: NATS, secrets: Secrets) -> None:
    """Their clocks differ, so that the registration is good for the one and has run out for the other."""
    ahead = Clock()
    ahead.forward(DAY + timedelta(minutes=1))
    on_time, early = Auth(streams, secrets), Auth(streams, secrets, ahead)
    for round_ in range(20):
        email, name = f"anna{round_}@example.org", f"anna{round_}"
        anna = await register(on_time, email, name)
        verified, taken = await asyncio.gather(
            on_time.commands.verify_email(await on_time.token(email), NO_ACTOR),
            register(early, f"boris{round_}@example.org", name),
            return_exceptions=True,
        )
        state = (await on_time.aggregates.usernames.load(on_time.keys.of_username(name))).state
        if isinstance(taken, Registered):
            assert isinstance(verified, TokenExpired)
            assert (state.holder, state.confirmed) == (taken.user_id, False)
        else:
            assert isinstance(taken, UsernameTaken)
            assert isinstance(verified, Verified)
            assert (state.holder, state.confirmed) == (anna.user_id, True)


async def test_asking_for_another_mail_moves_no_end_and_is_stored_once_whatever_the_address(
    replicas: tuple[Auth, Auth], streams: NATS, clock: Clock
) -> None:
    one, other = replicas
    await register(one, "anna@example.org", "anna")
    token = await one.token("anna@example.org")
    clock.forward(DAY / 2)
    before = len(await stored(streams, "AUTH"))
    await other.commands.resend_verification("ANNA@example.org", NO_ACTOR)
    assert await other.token("anna@example.org") == token
    clock.forward(DAY / 2)
    await one.commands.resend_verification("anna@example.org", NO_ACTOR)  # nothing is revived
    with pytest.raises(TokenExpired):
        await verify(other, token)
    await one.commands.resend_verification("nobody@example.org", NO_ACTOR)
    after = [event.type for event in (await stored(streams, "AUTH"))[before:]]
    assert after == ["email.verification_mail_requested", "mail.not_due", "mail.not_due"]


async def registered_before(auth: Auth, email: str, key: str) -> str:
    """A verified account from before all spellings of an address shared a key; its id."""
    user_id = new_id()
    events: tuple[Event, ...] = (
        EmailClaimed(user_id=user_id, email=email, username="anna", expires_at=auth.clock() + DAY),
        EmailVerified(user_id=user_id),
    )
    await auth.aggregates.addresses.execute(key, lambda _: events, NO_ACTOR)
    return user_id


@pytest.mark.parametrize("spelled", ["a@exämple.org", "a@xn--exmple-cua.org"])
async def test_an_address_in_another_script_from_before_is_found_by_every_spelling(
    replicas: tuple[Auth, Auth], spelled: str
) -> None:
    one, other = replicas
    before = one.keys.of_text(spelled)
    owner = await registered_before(one, spelled, before)
    for spelling in ("a@exämple.org", "A@xn--exmple-cua.org", "a@EXÄMPLE.org"):
        assert await email_key(other.aggregates.addresses, other.keys, spelling) == before
    await register(other, "a@exämple.org", "boris")
    state = (await other.aggregates.addresses.load(before)).state
    assert (state.owner, [pending.username for pending in state.pending]) == (owner, ["boris"])


@pytest.mark.parametrize("spelled", ["a@exämple.org", "a@xn--exmple-cua.org"])
async def test_an_address_in_another_script_from_before_stays_reserved_after_an_erasure(
    replicas: tuple[Auth, Auth], spelled: str
) -> None:
    one, other = replicas
    before = one.keys.of_text(spelled)
    owner = await registered_before(one, spelled, before)
    for free_at, expected_key in ((one.clock() + DAY, before), (one.clock() - DAY, one.keys.of_email("a@exämple.org"))):
        reserved = EmailReleased(user_id=owner, address=AddressState(owner=owner, owner_until=free_at))
        await one.aggregates.addresses.execute(before, lambda _, event=reserved: (event,), NO_ACTOR)  # type: ignore[misc]  # mypy infers no type of a default
        assert await email_key(other.aggregates.addresses, other.keys, "a@exämple.org") == expected_key


async def test_of_two_accounts_from_before_with_one_address_each_answers_to_its_own_spelling(
    replicas: tuple[Auth, Auth],
) -> None:
    one, other = replicas
    for spelling in ("a@exämple.org", "a@xn--exmple-cua.org"):
        await registered_before(one, spelling, one.keys.of_text(spelling))
        key = await email_key(other.aggregates.addresses, other.keys, spelling)
        assert key == one.keys.of_text(spelling)


async def test_the_address_that_an_older_folding_took_for_this_one_is_another(replicas: tuple[Auth, Auth]) -> None:
    one, other = replicas
    await registered_before(one, "a@strasse.de", one.keys.of_text("a@strasse.de"))
    assert (await register(other, "a@straße.de", "boris")).email == "a@straße.de"


async def test_who_has_the_mail_can_end_a_registration_that_is_not_theirs(
    replicas: tuple[Auth, Auth], streams: NATS
) -> None:
    one, other = replicas
    await register(one, "anna@example.org", "intruder")
    intruders = await one.token("anna@example.org")
    anna = await register(one, "anna@example.org", "anna")
    token = await one.token("anna@example.org")
    assert await other.commands.registration(intruders) == PendingName(
        username="intruder", verified=False, needs_password=True
    )
    before = len(await stored(streams, "AUTH"))
    await asyncio.gather(*(auth.commands.end_registration(intruders, NO_ACTOR) for auth in (one, other, one)))
    ended = [event.type for event in (await stored(streams, "AUTH"))[before:]]
    assert ended == ["email.registration_ended", "username.released"]
    with pytest.raises(TokenExpired):
        await verify(other, intruders)
    with pytest.raises(TokenExpired):
        await other.commands.registration(intruders)
    assert await log_in(other, "intruder") == "invalid_credentials"
    assert not (await other.commands.registration(token)).needs_password
    await verify(other, token)
    with pytest.raises(TokenExpired):
        await one.commands.end_registration(token, NO_ACTOR)
    assert (await one.commands.registration(token)).verified
    assert await log_in(one, "anna") == anna.user_id
    await register(one, "boris@example.org", "intruder")


async def test_a_flood_of_registrations_on_an_address_makes_its_owners_login_read_no_more(
    streams: NATS, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = Auth(streams, secrets)
    anna = await register(auth, "anna@example.org", "anna")
    await verify(auth, await auth.token("anna@example.org"))
    reader = Auth(streams, secrets)
    assert await log_in(reader, "anna@example.org") == anna.user_id
    for number in range(40):
        await register(auth, "anna@example.org", f"flood{number}")

    async def refused(*_: object, **__: object) -> list[Message]:
        raise AssertionError("a login reads the last event alone")

    # One that remembers what was before the flood, and one that has never heard of the address.
    for replica in (reader, Auth(streams, secrets)):
        await replica.aggregates.users.load(anna.user_id)
        monkeypatch.setattr(replica.aggregates.log, "read", refused)
        assert await log_in(replica, "anna@example.org") == anna.user_id
    last = await auth.aggregates.log.last(subjects.email_claim(auth.keys.of_email("anna@example.org")))
    assert last is not None
    assert len(last.payload) < 8 * 1024
    state = (await auth.aggregates.addresses.load(auth.keys.of_email("anna@example.org"))).state
    assert [pending.username for pending in state.pending] == [f"flood{number}" for number in range(24, 40)]


async def test_accounts_of_an_older_release_go_on_and_reach_the_same_end(
    replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    verified = await older(one, "verified", clock() + DAY, verified=True)
    waiting = await older(one, "waiting", clock() + DAY)
    await older(one, "lapsed", clock() + DAY)
    assert await log_in(other, "verified@example.org") == verified
    assert await log_in(other, "waiting") == "email_not_verified"
    assert await log_in(other, "waiting@example.org") == "invalid_credentials"
    await register(one, "waiting@example.org", "intruder")
    key = one.keys.of_email("waiting@example.org")
    registration = (await one.aggregates.addresses.load(key)).state.pending[0]
    token = one.tokens.sign(Verification(user_id=waiting, claim_key=key, expires_at=registration.expires_at))
    with pytest.raises(PasswordRequired):
        await verify(other, token)
    await other.commands.verify_email(token, NO_ACTOR, password=PASSWORD)
    clock.forward(DAY)
    for name in ("verified", "waiting"):
        assert (await log_in(one, name), await log_in(one, f"{name}@example.org")) == (
            {"verified": verified, "waiting": waiting}[name],
        ) * 2
        with pytest.raises(UsernameTaken):
            await register(one, "other@example.org", name)
    again = await register(one, "lapsed@example.org", "lapsed")
    await verify(other, await other.token("lapsed@example.org"))
    assert await log_in(one, "lapsed") == again.user_id


async def older(auth: Auth, name: str, end: datetime, *, verified: bool = False) -> str:
    """A registration in the older form of events; the user's id."""
    user_id, email, aggregates = new_id(), f"{name}@example.org", auth.aggregates
    claim: tuple[Event, ...] = (EmailClaimed(user_id=user_id, email=email, username=name, expires_at=end),)
    user: tuple[Event, ...] = (UserCreated(username=name),)
    if verified:
        claim, user = (*claim, EmailVerified(user_id=user_id)), (*user, UserEmailVerified())
    # Hashed without a key, as they were then.
    hashed = CredentialSet(password_hash=bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())
    appends = [
        *aggregates.addresses.appends(
            auth.keys.of_email(email), LoadedAggregate(AddressState(), 0, 0), claim, NO_ACTOR
        ),
        *aggregates.usernames.appends(
            auth.keys.of_username(name),
            LoadedAggregate(Username(), 0, 0),
            (UsernameClaimed(user_id=user_id),),
            NO_ACTOR,
        ),
        *aggregates.credentials.appends(user_id, LoadedAggregate(Credential(), 0, 0), (hashed,), NO_ACTOR),
        *aggregates.users.appends(user_id, LoadedAggregate(User(), 0, 0), user, NO_ACTOR),
    ]
    await aggregates.log.append_together(appends)
    return user_id
