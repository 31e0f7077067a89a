"""A whole system's past, written at the speed of the wire: who registered, logged in, became friends, wrote and read.

Who writes to whom, and in which order, is as in the recorded history where it is at hand, over and over. The events
have the envelopes and headers that the services give them; only the conditions of their appends are not asked for,
since nobody else writes.
"""

import gzip
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle

from contracts import subjects
from contracts.envelope import encode, seal
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated
from contracts.events.message import MessageSeen
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.events.user import (
    CredentialSet,
    EmailClaimed,
    EmailVerified,
    UserCreated,
    UserEmailVerified,
    UsernameClaimed,
)
from contracts.values.ids import new_id, pair_id
from streams.jetstream.client import Client
from tests.bench.events import HISTORY, message, provenance, texts

# Every fifth event is somebody's mark of what was seen.
_MARK_EVERY = 5
_PEOPLE, _PAIRS = 1_899, 13_838
# So many are written before the server must have acknowledged the last of them: it buffers 10,000.
_IN_FLIGHT = 2_000
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Written = tuple[str, str, Event]
"""Subject, aggregate, event."""


@cache
def pairs() -> list[tuple[int, int]]:
    """Returns the sender and the recipient of each message."""
    if HISTORY.exists():
        with gzip.open(HISTORY, "rt", encoding="utf-8") as lines:
            rows = [line.split("\t", 2)[:2] for line in lines][1:]
        return [(int(sender), int(recipient)) for sender, recipient in rows]
    chance = random.Random(7)
    known = [tuple(chance.sample(range(1, _PEOPLE + 1), 2)) for _ in range(_PAIRS)]
    weights = [1 / (index + 20) for index in range(_PAIRS)]
    return [
        (one, other) if chance.random() < 0.5 else (other, one)
        for one, other in chance.choices(known, weights, k=60_000)
    ]


def talk(people: dict[int, str]) -> Iterator[Written]:
    """Yields sent messages and seen marks, four to one, endlessly."""
    last: dict[str, int] = {}
    lines = cycle(texts())
    written = 0
    for one, other in cycle(pairs()):
        sender, recipient = people[one], people[other]
        conversation = pair_id(sender, recipient)
        sequence = last[conversation] = last.get(conversation, 0) + 1
        yield subjects.conversation(conversation), conversation, message(sequence, next(lines), sender, recipient)
        written += 1
        if written % _MARK_EVERY == _MARK_EVERY - 1:
            mark = MessageSeen(conversation_id=conversation, reader_id=recipient, peer_id=sender, sequence=sequence)
            yield subjects.read_mark(conversation, recipient), f"{conversation}.{recipient}", mark
            written += 1


def friendships(people: dict[int, str]) -> Iterator[Written]:
    """Yields the accepted friendships of the pairs that write to each other."""
    for one, other in dict.fromkeys((min(pair), max(pair)) for pair in pairs()):
        yield from befriend(people[one], people[other])


def befriend(one: str, other: str) -> Iterator[Written]:
    friendship = pair_id(one, other)
    subject = subjects.friendship(friendship)
    yield subject, friendship, FriendshipCreated(requester_id=one, addressee_id=other)
    yield subject, friendship, FriendshipAccepted(requester_id=one, addressee_id=other)


def strangers() -> Iterator[Written]:
    """Yields friendships between new users, endlessly."""
    while True:
        yield from befriend(new_id(), new_id())


def registrations() -> Iterator[Written]:
    """Yields verified registrations with their claims, endlessly."""
    for number in cycle(range(10**9)):
        user, name = new_id(), f"person{number}"
        key = f"{number:064x}"
        address = subjects.email_claim(key)
        expires = _BEGIN + timedelta(days=1)
        yield subjects.credential(user), user, CredentialSet(password_hash="$2b$12$" + "x" * 53)
        yield address, key, EmailClaimed(user_id=user, email=f"{name}@example.org", username=name, expires_at=expires)
        yield subjects.username_claim(key), key, UsernameClaimed(user_id=user)
        yield subjects.user(user), user, UserCreated(username=name, display_name=f"Person {number}")
        yield address, key, EmailVerified(user_id=user)
        yield subjects.user(user), user, UserEmailVerified()


def profiles() -> Iterator[Written]:
    """Yields profiles, each changed once, endlessly."""
    for number in cycle(range(10**9)):
        user = new_id()
        yield subjects.profile(user), user, ProfileCreated(username=f"person{number}", display_name=f"Person {number}")
        yield subjects.profile(user), user, ProfileUpdated(display_name=f"Person N. {number}", bio="Hello, it is me.")


def sessions() -> Iterator[Written]:
    """Yields sessions, each refreshed a few times and ended, endlessly."""
    expires = _BEGIN + timedelta(days=30)
    for number in cycle(range(10**9)):
        session, user = new_id(), new_id()
        subject = subjects.session(session)
        created = SessionCreated(
            user_id=user, username=f"person{number}", device="Firefox on Linux", address="192.0.2.7", expires_at=expires
        )
        yield subject, session, created
        for generation in range(2, 5):
            yield subject, session, SessionRefreshed(user_id=user, generation=generation, expires_at=expires)
        yield subject, session, SessionRevoked(user_id=user, reason="logout")


def people() -> dict[int, str]:
    """A user id for each person of the recorded history."""
    return {number: new_id() for number in dict.fromkeys(number for pair in pairs() for number in pair)}


async def write(client: Client, events: Iterable[Written], *, seconds_apart: float = 0.04) -> None:
    """Appends the events; `seconds_apart` is how much later each happened than the one before."""
    versions: dict[str, int] = {}
    moment = _BEGIN
    for number, (subject, aggregate, event) in enumerate(events, start=1):
        version = versions[subject] = versions.get(subject, 0) + 1
        moment += timedelta(seconds=seconds_apart)
        at = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        envelope = seal(event, aggregate_id=aggregate, version=version, provenance=provenance(aggregate), at=at)
        headers = {"Nats-Msg-Id": envelope.id}
        if number % _IN_FLIGHT:
            await client.publish(subject, encode(envelope), headers=headers)
        else:
            await client.jetstream().publish(subject, encode(envelope), headers=headers, timeout=60)
    await client.flush(60)


async def stored(client: Client, stream: str) -> int:
    """The number of events in the stream."""
    state = (await client.jetstream().stream_info(stream)).state
    assert state.messages == state.last_seq
    return state.last_seq
