"""Seeds a system's history: writes events directly into the streams, with the owners' conditions and atomic batches.

Who appends logs in at NATS as the owner of the stream, as an import does. Each person is registered, verified, has a
profile and one session; its password is the same for all, hashed once at the cost of production. The services find
out as they would after an import: read models catch up, reactions see that there is nothing left to do.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import bcrypt
import msgspec
from nats.aio.client import Client as NATS
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.durable_consumers import DURABLES
from contracts.envelope import Provenance, now, seal
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated
from contracts.events.message import MessageEdited, MessageSent, ReactionChanged, RepliedTo
from contracts.events.profile import ProfileCreated
from contracts.events.session import SessionCreated
from contracts.events.user import (
    CredentialSet,
    EmailClaimed,
    EmailVerified,
    UserCreated,
    UserEmailVerified,
    UsernameClaimed,
)
from contracts.services import OPERATOR
from contracts.subjects import AUTH, CONTACT, MESSAGING, PROFILE, SESSION, STREAMS
from contracts.values.ids import new_id, pair_id
from infra.archive.stream_access import Store
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import NotRunning, RunFile, find
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.auth.claim_keys import ClaimKeys
from services.auth.domain import KEYED
from services.auth.passwords.hashing import digest_of, key_id
from services.session.tokens import RefreshToken, RefreshTokens
from streams.log import Append, Log
from tests.bench.events import message, texts
from tests.fix_system import System

PASSWORD = "correct horse battery"
_COST = 12
# Events of an atomic batch, and how many batches are on their way at once.
_TOGETHER, _AT_ONCE = 900, 2
_PEOPLE_TOGETHER = 5_000
_LIFE = timedelta(days=30)
_WRITTEN_WITHIN = 30.0

Written = tuple[str, str, Event]
"""Subject, aggregate, event."""


class Seeded(msgspec.Struct, frozen=True):
    """A user from the seeded history."""

    user_id: str
    username: str
    refresh_token: str


class Seeder:
    """Writes into the streams of one running system."""

    def __init__(self, system: System, logs: dict[str, Log], operator: NATS) -> None:
        secrets = Secrets.load(system.data_dir / "secrets")
        self._logs, self._operator = logs, operator
        self._keys, self._refresh = ClaimKeys(secrets.claims_key), RefreshTokens(secrets.refresh_key)
        key = secrets.password_key
        self._credential = CredentialSet(
            password_hash=bcrypt.hashpw(digest_of(PASSWORD.encode(), key), bcrypt.gensalt(_COST)).decode(),
            scheme=KEYED,
            key_id=key_id(key),
        )
        # How far each subject that was written to is: last sequence in the stream, last version.
        self._known: dict[str, tuple[int, int]] = {}

    async def people(self, names: Iterable[str]) -> list[Seeded]:
        """Registers everybody; names are usernames."""
        left, registered = iter(names), list[Seeded]()
        while some := list(islice(left, _PEOPLE_TOGETHER)):
            registered += await self._register(some)
        return registered

    async def befriend(self, pairs: Iterable[tuple[str, str]]) -> None:
        await self._write(CONTACT, [_friendship(one, other) for one, other in pairs])

    async def talk(
        self, pairs: Sequence[tuple[str, str]], count: int, *, beginning: int = 0, changed: bool = False
    ) -> None:
        """Writes the given number of messages, the pairs in turn and alternating within each pair.

        `changed`: a quarter of them are replies, a quarter have a reaction, and a fifth are edited.
        """
        last = {pair_id(*pair): await self._last_message(pair_id(*pair)) for pair in pairs}
        answered: dict[str, MessageSent] = {}
        lines = texts()

        def stories() -> Iterator[list[Written]]:
            for number in range(beginning, beginning + count):
                pair = pairs[number % len(pairs)]
                sender, recipient = pair if number // len(pairs) % 2 else pair[::-1]
                conversation = pair_id(sender, recipient)
                last[conversation] += 1
                event = message(last[conversation], lines[number % len(lines)], sender, recipient)
                if not changed:
                    yield [(subjects.conversation(conversation), conversation, event)]
                    continue
                event = _reply(event, answered.get(conversation))
                answered[conversation] = event
                yield [
                    (subjects.conversation(conversation), conversation, event),
                    *_changes(conversation, event),
                ]

        await self._write(MESSAGING, stories())

    async def reactions_done(self, within: float) -> None:
        """Waits until everybody who reacts to registrations has seen these.

        Raises:
            TimeoutError: they have not in time.
        """
        async with asyncio.timeout(within):
            for durable in DURABLES:
                context = self._operator.jetstream()
                while True:
                    try:
                        info = await context.consumer_info(durable.stream, durable.name)
                    except NotFoundError:
                        break
                    if not info.num_pending and not info.num_ack_pending:
                        break
                    await asyncio.sleep(0.25)

    async def _register(self, names: Sequence[str]) -> list[Seeded]:
        registered: list[Seeded] = []
        # The registration last: whoever reacts to it finds the profile there.
        by_stream: dict[str, list[list[Written]]] = {PROFILE: [], SESSION: [], AUTH: []}
        expires = datetime.now(UTC).replace(microsecond=0) + _LIFE
        for name in names:
            user_id, session = new_id(), new_id()
            by_stream[AUTH].append(self._registration(user_id, name, expires))
            profile = ProfileCreated(username=name, display_name=name.title())
            by_stream[PROFILE].append([(subjects.profile(user_id), user_id, profile)])
            created = SessionCreated(
                user_id=user_id, username=name, device="bench", address="", expires_at=expires, credential=1
            )
            by_stream[SESSION].append([(subjects.session(session), session, created)])
            token = self._refresh.sign(RefreshToken(session_id=session, generation=1))
            registered.append(Seeded(user_id, name, token))
        for stream, stories in by_stream.items():
            await self._write(stream, stories)
        return registered

    async def _last_message(self, conversation: str) -> int:
        """The number of the conversation's last message, which the services may have appended."""
        subject = subjects.conversation(conversation)
        last = await self._logs[MESSAGING].last(subject)
        if last is None:
            self._known[subject] = (0, 0)
            return 0
        event = last.open()
        assert isinstance(event.data, MessageSent)
        self._known[subject] = (last.sequence, event.version)
        return event.data.sequence

    def _registration(self, user_id: str, name: str, expires: datetime) -> list[Written]:
        email = f"{name}@example.org"
        address, username = self._keys.of_email(email), self._keys.of_username(name)
        claimed = EmailClaimed(user_id=user_id, email=email, username=name, expires_at=expires)
        return [
            (subjects.credential(user_id), user_id, self._credential),
            (subjects.email_claim(address), address, claimed),
            (subjects.username_claim(username), username, UsernameClaimed(user_id=user_id)),
            (subjects.user(user_id), user_id, UserCreated(username=name, display_name=name.title())),
            (subjects.email_claim(address), address, EmailVerified(user_id=user_id)),
            (subjects.user(user_id), user_id, UserEmailVerified()),
        ]

    async def _write(self, stream: str, stories: Iterable[list[Written]]) -> None:
        """Writes batches of whole stories. Batches that share a subject are not in flight at the same time."""
        pages, log = _pages(stories), self._logs[stream]
        under_way: dict[asyncio.Task[None], set[str]] = {}
        for page in pages:
            names = {subject for subject, _, _ in page}
            while len(under_way) >= _AT_ONCE or any(names & taken for taken in under_way.values()):
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del under_way[task]
                    task.result()
            under_way[asyncio.create_task(self._append(log, page))] = names
        for task in under_way:
            await task

    async def _append(self, log: Log, page: list[Written]) -> None:
        appends = []
        versions: dict[str, int] = {}
        for subject, aggregate, event in page:
            sequence, version = self._known.get(subject, (0, 0))
            version = versions[subject] = versions.get(subject, version) + 1
            provenance = Provenance(correlation_id=new_id())
            envelope = seal(event, aggregate_id=aggregate, version=version, provenance=provenance)
            appends.append(Append(subject=subject, expected=sequence, envelope=envelope))
        sequences = await log.append_together(appends)
        for (subject, _, _), sequence in zip(page, sequences, strict=True):
            self._known[subject] = (sequence, versions[subject])


@contextlib.asynccontextmanager
async def seeder(system: System) -> AsyncIterator[Seeder]:
    """Logged in as the owner of each stream."""
    running = await _running(system)
    store = Store(Settings(data_dir=system.data_dir, nats_url=running.nats_url), alone=False)
    connections: dict[str, NATS] = {}
    try:
        for party in (OPERATOR, *set(STREAMS.values())):
            connections[party] = await connect_nats(store.as_party(party), f"{party}-seed")
        logs = {stream: Log(connections[party], patience=60.0) for stream, party in STREAMS.items()}
        yield Seeder(system, logs, connections[OPERATOR])
    finally:
        for connection in connections.values():
            await connection.close()


async def _running(system: System) -> RunFile:
    """Waits for the run file, which the supervisor may write a moment after the gateway is ready."""
    async with asyncio.timeout(_WRITTEN_WITHIN):
        while True:
            with contextlib.suppress(NotRunning):
                return find(system.data_dir)
            await asyncio.sleep(0.02)


def _reply(event: MessageSent, last: MessageSent | None) -> MessageSent:
    """Makes every fourth message a reply to the one before."""
    if last is None or event.sequence % 4 != 2:
        return event
    answered = RepliedTo(message_id=last.message_id, sequence=last.sequence, sender_id=last.sender_id)
    return msgspec.structs.replace(event, reply_to=answered)


def _changes(conversation: str, event: MessageSent) -> Iterator[Written]:
    """A reaction to every fourth message, and an edit of every fifth."""
    subject = subjects.message(event.message_id)
    fields: dict[str, Any] = {
        "message_id": event.message_id,
        "conversation_id": conversation,
        "sequence": event.sequence,
        "sender_id": event.sender_id,
        "sent_at": now(),
        "members": (event.sender_id, event.recipient_id),
    }
    if event.sequence % 4 == 0:
        yield subject, event.message_id, ReactionChanged(user_id=event.recipient_id, emoji="👍", **fields)
    if event.sequence % 5 == 0:
        yield subject, event.message_id, MessageEdited(text=event.text, **fields)


def _friendship(one: str, other: str) -> list[Written]:
    pair = pair_id(one, other)
    subject = subjects.friendship(pair)
    return [
        (subject, pair, FriendshipCreated(requester_id=one, addressee_id=other)),
        (subject, pair, FriendshipAccepted(requester_id=one, addressee_id=other)),
    ]


def _pages(stories: Iterable[list[Written]]) -> Iterator[list[Written]]:
    """Stories together, as many as go into a batch."""
    page: list[Written] = []
    for story in stories:
        page.extend(story)
        if len(page) >= _TOGETHER:
            yield page
            page = []
    if page:
        yield page
