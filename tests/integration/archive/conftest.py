"""Two systems with the permissions of a deployment: the source of an export, and the target of its import."""

import shutil
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import pytest_asyncio

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.events.dead_letter import DeadLetterDiscarded
from contracts.events.event import Event
from contracts.events.friendship import FriendshipCreated
from contracts.events.message import MessageSent
from contracts.events.profile import ProfileCreated
from contracts.events.session import SessionRevoked
from contracts.events.user import UserCreated
from contracts.services import OPERATOR
from contracts.subjects import STREAMS, stream_of
from contracts.values.ids import new_id
from infra.archive.exporter import Discarded, Exported, export
from infra.archive.importer import Imported, Steps, import_file
from infra.archive.key_fingerprint import CLAIMS
from infra.archive.stream_access import Store
from infra.security.secrets import Secrets
from infra.settings import Settings
from streams.jetstream.api import JetStream
from streams.log import Append, Log
from streams.message import Message
from streams.reader import Reader
from streams.restore import kept_headers
from tests.integration.infra.nats_parties import Parties, parties

# The parts of a stored event that are compared.
Stored = tuple[int, str, bytes, dict[str, str]]


class Deployment:
    """A server with its NATS accounts and secrets."""

    def __init__(self, folder: Path, nats_parties: Parties) -> None:
        self.folder = folder
        self.nats_parties = nats_parties
        self.settings = Settings(
            data_dir=folder, secrets_dir=str(folder / "secrets"), nats_url=nats_parties.server.url_of(OPERATOR)
        )

    async def log_of(self, stream: str) -> Log:
        return Log((await self.nats_parties.party(STREAMS[stream])).nats)

    async def append(self, subject: str, event: Event, *, expected: int = 0, version: int = 1) -> int:
        envelope = seal(event, aggregate_id=subject.rsplit(".", 1)[1], version=version, provenance=Provenance())
        log = await self.log_of(stream_of(subject))
        return await log.append(Append(subject=subject, expected=expected, envelope=envelope))

    async def export(
        self, path: Path, *, allow_unreadable: bool = True, discarded: Discarded | None = None
    ) -> Exported:
        operator, secrets = (await self.nats_parties.party(OPERATOR)).nats, Secrets.load(self.folder / "secrets")
        with path.open("wb") as file:
            return await export(
                operator,
                secrets,
                file,
                str(path),
                silent,
                allow_unreadable=allow_unreadable,
                discarded=discarded,
            )

    async def import_(
        self,
        path: Path,
        *,
        alone: bool = True,
        steps: Steps | None = None,
        claims_key: bytes | None = None,
        passwords_lost: bool = True,
        allow_unreadable: bool = False,
    ) -> Imported:
        """`passwords_lost` is set by default, since each deployment has its own keys."""
        return await import_file(
            path,
            nullcontext(Store(self.settings, alone=alone)),
            steps or Steps(silent, silent, unheard),
            claims_key=claims_key,
            passwords_lost=passwords_lost,
            allow_unreadable=allow_unreadable,
        )

    async def jetstream(self) -> JetStream:
        return JetStream((await self.nats_parties.party(OPERATOR)).nats)

    async def everything(self) -> dict[str, list[Stored]]:
        jetstream = await self.jetstream()
        stored_by_stream: dict[str, list[Stored]] = {}
        operator = (await self.nats_parties.party(OPERATOR)).nats
        for stream in STREAMS:
            stored_by_stream[stream] = []
            end = (await jetstream.info(stream)).state.last_seq
            async with Reader(operator, stream, name="test", headers=True) as reader:
                batches = aiter(reader.batches())
                while len(stored_by_stream[stream]) < end:
                    stored_by_stream[stream] += map(stored, (await anext(batches)).messages)
        return stored_by_stream

    async def ends(self) -> dict[str, int]:
        jetstream = await self.jetstream()
        return {stream: (await jetstream.info(stream)).state.last_seq for stream in STREAMS}


def stored(message: Message) -> Stored:
    return message.sequence, message.subject, message.payload, kept_headers(message.headers)


def silent(done: int, total: int) -> None:
    """Ignores progress."""


def unheard(text: str) -> None:
    """Ignores messages for the operator."""


def sent(sequence: int, text: str = "hello") -> MessageSent:
    one, other = new_id(), new_id()
    return MessageSent(
        message_id=new_id(),
        sender_id=one,
        recipient_id=other,
        sequence=sequence,
        text=text,
        client_message_id=new_id(),
    )


@pytest_asyncio.fixture
async def source(tmp_path: Path) -> AsyncIterator[Deployment]:
    folder = tmp_path / "source"
    async with parties(folder) as nats_parties:
        yield Deployment(folder, nats_parties)


@pytest_asyncio.fixture
async def target(source: Deployment, tmp_path: Path) -> AsyncIterator[Deployment]:
    """An empty system with the source's key of claims."""
    folder = tmp_path / "target"
    async with parties(folder) as nats_parties:
        shutil.copy(source.folder / "secrets" / CLAIMS, folder / "secrets" / CLAIMS)
        yield Deployment(folder, nats_parties)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export"


@pytest_asyncio.fixture
async def filled(source: Deployment) -> Deployment:
    """A source with events in every stream: several blocks of messages, and a message that is not an event."""
    user, other = new_id(), new_id()
    created = FriendshipCreated(requester_id=user, addressee_id=other)
    await source.append(subjects.user(user), UserCreated(username="anna", display_name="Änna"))
    await source.append(subjects.profile(user), ProfileCreated(username="anna", display_name="Änna"))
    await source.append(subjects.friendship(new_id()), created)
    await source.append(subjects.session(new_id()), SessionRevoked(user_id=user, reason="logout"))
    discarded = DeadLetterDiscarded(
        projection="friends",
        projection_version=1,
        build=1,
        stream=subjects.CONTACT,
        sequence=1,
        subject=subjects.friendship("p"),
        event_type="friendship.created",
        error="ValueError: what",
        reason="it was a test",
        by="olga",
    )
    await source.append(subjects.dead_letter("friends", 1, subjects.CONTACT, 1), discarded)
    log = await source.log_of(subjects.MESSAGING)
    for _ in range(3):
        page = []
        for _ in range(900):
            conversation = subjects.conversation(new_id())
            envelope = seal(sent(1), aggregate_id=conversation, version=1, provenance=Provenance(actor=user))
            page.append(Append(subject=conversation, expected=0, envelope=envelope))
        await log.append_together(page)
    messaging = (await source.nats_parties.party("messaging")).nats
    await messaging.request(subjects.notifications("n"), b"\xff no event of ours \x00", headers={"Of": "somebody"})
    return source
