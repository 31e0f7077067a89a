"""The copy of a user's data while services, the store and the process that makes it fail, with the real NATS."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance, Recorded
from contracts.errors import (
    DataExportExpired,
    DataExportNotFound,
    DataExportNotMade,
    NotFriends,
    RateLimited,
    Unavailable,
)
from contracts.events.data_export import DataExportMade, DataExportRequested
from contracts.events.event import Event
from contracts.positions import Position
from contracts.rpc.vestnik.contact import v1 as contact
from contracts.rpc.vestnik.messaging import v1 as messaging
from contracts.rpc.vestnik.profile import v1 as profile
from contracts.rpc.vestnik.session import v1 as session
from contracts.subjects import DATA_EXPORTS, data_export, stream_of_bucket
from contracts.values.ids import new_id
from infra.embedded.ports import free_port
from infra.rpc.client import Client
from infra.rpc.server import RpcServer, Servable
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.auth.alerts.recipients import Recipients
from services.auth.data_export import clients
from services.auth.data_export.clients import Services
from services.auth.data_export.commands import DataExportCommands
from services.auth.data_export.reactions import DataExportMaking
from services.auth.data_export.store import FileStore
from services.auth.failures.queries import FailureQueries
from services.auth.queries import Queries
from services.auth.repositories import Aggregates
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import KeyValue
from streams.log import Log
from streams.topology import ensure_bucket
from tests.integration.auth_and_session import Clock
from tests.integration.gateway.scripted import Contact, Messaging, Profile, Script, Session

BORIS = "01890a5d-ac96-774b-bcce-b302099a8058"
AT = datetime(2026, 1, 1, tzinfo=UTC)
SENT_AT = "2026-01-01T00:00:00.005Z"


def messages(first: int, number: int, *, more: bool) -> messaging.GetMessagesResponse:
    items = [
        {
            "message_id": new_id(),
            "sequence": sequence,
            "sender_id": BORIS,
            "text": f"text {sequence}",
            "sent_at": SENT_AT,
        }
        for sequence in range(first, first + number)
    ]
    return messaging.GetMessagesResponse(items=msgspec.json.encode(items), more=more, last=first + number - 1)


class Harness:
    """One replica of auth's making of copies, with scripted services."""

    def __init__(self, nats: NATS, secrets: Secrets, services: Services, script: Script) -> None:
        self.nats = nats
        self.secrets = secrets
        self.script = script
        self.clock = Clock()
        self.user_id = new_id()
        self._services = services
        self.commands, self.making = self.replica()
        conversation = {"user_id": BORIS, "conversation_id": new_id(), "last_message": None, "unread_count": 0}
        script.answers = {
            "list_history": session.ListHistoryResponse(),
            "get_own_profile": profile.GetOwnProfileResponse(
                profile=profile.Profile(
                    user_id=self.user_id, username="anna", settings=profile.ProfileSettings(language="ru")
                )
            ),
            "get_profile": profile.GetProfileResponse(profile=profile.Profile(username="boris", display_name="Boris")),
            "get_friends": contact.GetFriendsResponse(),
            "list_blocked": contact.ListBlockedResponse(),
            "list_filed_reports": contact.ListFiledReportsResponse(),
            "list_notifications": messaging.ListNotificationsResponse(),
            "list_conversations": messaging.ListConversationsResponse(items=msgspec.json.encode([conversation])),
            "get_messages": messages(1, 3, more=False),
            "list_closed_messages": messaging.ListClosedMessagesResponse(items=b"[]"),
        }

    def replica(self, *, most_bytes: int = 1024**2) -> tuple[DataExportCommands, DataExportMaking]:
        """The commands and the reaction of another process."""
        aggregates = Aggregates(Log(self.nats))
        store = FileStore(
            KeyValue(self.nats, DATA_EXPORTS, patience=60.0), self.secrets.mail_key, most_bytes=most_bytes
        )

        async def own_user(user_id: str, position: Position) -> object:
            return SimpleNamespace(
                username="anna", email="anna@example.org", email_verified=True, created_at=AT, totp=False
            )

        async def no_failures(user_id: str, **bounds: object) -> list[object]:
            return []

        making = DataExportMaking(
            aggregates,
            store,
            self._services,
            cast(Queries, SimpleNamespace(own_user=own_user)),
            cast(FailureQueries, SimpleNamespace(of_user=no_failures)),
            cast(Recipients, None),
            clock=self.clock,
        )
        return DataExportCommands(aggregates, store, clock=self.clock), making

    async def request(self, commands: DataExportCommands | None = None) -> Recorded[DataExportRequested]:
        """Requests a copy; returns the event that the reaction gets."""
        await (commands or self.commands).request(self.user_id, new_id(), Position(), Provenance())
        return cast(Recorded[DataExportRequested], (await self.events())[-1])

    async def events(self) -> list[Recorded[Event]]:
        stored = await Log(self.nats).read(data_export(self.user_id))
        return [message.open() for message in stored]

    async def made(self) -> list[DataExportMade]:
        return [event.data for event in await self.events() if isinstance(event.data, DataExportMade)]

    async def file(self, export_id: str, commands: DataExportCommands | None = None) -> zipfile.ZipFile:
        """Opens the copy as another replica reads it."""
        reading = commands or self.replica()[0]
        export, _ = await reading.open(self.user_id, export_id, new_id(), Provenance())
        assert export.file is not None
        parts = [await reading.read(self.user_id, export_id, part) for part in range(export.file.parts)]
        content = b"".join(parts)
        assert len(content) == export.file.size
        archive = zipfile.ZipFile(io.BytesIO(content))
        assert archive.testzip() is None
        return archive

    async def texts(self, export_id: str) -> list[str]:
        archive = await self.file(export_id)
        items = msgspec.json.decode(archive.read(f"conversations/{BORIS}.json"))
        return [item["text"] for item in items]


@pytest_asyncio.fixture
async def harness(streams: NATS, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(clients, "_PAUSES", (0.01, 0.02))
    await ensure_bucket(streams, DATA_EXPORTS, replicas=1)
    kinds = {"session": Session, "profile": Profile, "contact": Contact, "messaging": Messaging}
    settings = Settings(addresses={name: f"127.0.0.1:{free_port()}" for name in kinds})
    script = Script()
    async with AsyncExitStack() as stack:
        for name, kind in kinds.items():
            server = RpcServer(name, [cast(Servable, kind(script))], secrets=secrets)
            await server.start(*settings.addresses_of(name)[0])
            server.set_ready(True)
            stack.push_async_callback(server.drain, 0.1)

        def client(target: str) -> Client:
            opened = Client(target, me="auth", settings=settings, secrets=secrets, carried=True)
            stack.callback(opened.close)
            return opened

        yield Harness(streams, secrets, Services(client), script)


async def test_every_replica_finds_the_file_and_reads_it_as_the_user(harness: Harness) -> None:
    requested = await harness.request()
    await harness.making.make(requested)
    archive = await harness.file(requested.data.export_id)
    assert 'lang="ru"' in archive.read("index.html").decode()
    assert {call.actor for _, _, call in harness.script.asked} == {harness.user_id}
    for user_id, part, error in ((new_id(), 0, DataExportNotFound), (harness.user_id, 1, DataExportNotFound)):
        with pytest.raises(error):
            await harness.replica()[0].read(user_id, requested.data.export_id, part)


async def test_the_store_holds_no_part_in_plain_form(harness: Harness) -> None:
    requested = await harness.request()
    await harness.making.make(requested)
    (made,) = await harness.made()
    key = f"{made.file_id}.0"
    stored = (await KeyValue(harness.nats, DATA_EXPORTS, patience=60.0).get_many([key]))[key]
    assert not stored.startswith(b"PK")
    assert b"index.html" not in stored
    # Nor is it a part of another user's file.
    with pytest.raises(DataExportExpired):
        await FileStore(
            KeyValue(harness.nats, DATA_EXPORTS, patience=60.0), harness.secrets.mail_key, most_bytes=1
        ).read(new_id(), made.file_id, 0)


async def test_of_two_requests_at_two_replicas_one_is_refused_with_the_time_to_wait(harness: Harness) -> None:
    others = [harness.replica()[0] for _ in range(4)]
    outcomes = await asyncio.gather(
        *(one.request(harness.user_id, new_id(), Position(), Provenance()) for one in others), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimited)]
    assert len(refused) == 3
    assert all(refusal.retry_after and 86_000 < refusal.retry_after <= 86_400 for refusal in refused)
    harness.clock.forward(timedelta(days=1))
    await harness.request()


async def test_a_process_that_dies_in_the_middle_is_followed_by_another_attempt(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = await harness.request()
    reached = asyncio.Event()

    async def hangs() -> messaging.GetMessagesResponse:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    harness.script.answers["get_messages"] = hangs
    dying = asyncio.create_task(harness.making.make(requested))
    await reached.wait()
    harness.script.answers["get_messages"] = messages(1, 2, more=False)
    # Another replica gets the event; the first goes on, as if it had only been suspended.
    await harness.replica()[1].make(requested)
    # A process that stops does not spend its last seconds on deletions: the parts expire.
    monkeypatch.setattr(FileStore, "remove", None)
    dying.cancel()
    await asyncio.wait({dying})
    assert dying.cancelled()
    assert await harness.texts(requested.data.export_id) == ["text 1", "text 2"]
    # Delivered once more: nothing is made again.
    await harness.making.make(requested)
    assert len(await harness.made()) == 1


async def test_of_two_attempts_at_once_one_file_counts_and_the_other_is_removed(harness: Harness) -> None:
    requested = await harness.request()
    both = [harness.making, harness.replica()[1]]
    await asyncio.gather(*(making.make(requested) for making in both))
    (made,) = await harness.made()
    assert (await harness.file(requested.data.export_id)).testzip() is None
    kept = await KeyValue(harness.nats, DATA_EXPORTS, patience=60.0).get_many([">"])
    assert set(kept) == {f"{made.file_id}.{part}" for part in range(made.parts)}


def conversations(*peers: str, following: str = "") -> messaging.ListConversationsResponse:
    items = [{"user_id": peer, "conversation_id": new_id(), "last_message": None} for peer in peers]
    return messaging.ListConversationsResponse(items=msgspec.json.encode(items), next=following)


async def test_a_conversation_that_moves_between_two_pages_of_the_list_is_in_the_copy_once(
    harness: Harness,
) -> None:
    requested = await harness.request()
    carl, dora = new_id(), new_id()
    friends = [contact.Friend(user_id=peer, state=contact.FriendState.ACCEPTED) for peer in (BORIS, carl, dora)]
    harness.script.answers["get_friends"] = contact.GetFriendsResponse(friends=friends)
    # Carl's comes to the front after the first page, and Boris's is pinned and unpinned.
    pages = iter([conversations(BORIS, following="x"), conversations(BORIS, dora), conversations(carl, BORIS, dora)])

    async def listed() -> messaging.ListConversationsResponse:
        return next(pages)

    harness.script.answers["list_conversations"] = listed
    await harness.making.make(requested)
    archive = await harness.file(requested.data.export_id)
    listed_people = [item["user_id"] for item in msgspec.json.decode(archive.read("conversations.json"))]
    assert listed_people == [BORIS, dora, carl]
    assert {f"conversations/{peer}.json" for peer in listed_people} <= set(archive.namelist())
    assert len(archive.namelist()) == len(set(archive.namelist()))


async def test_what_was_read_before_the_friendship_ended_stays_and_the_copy_is_complete(harness: Harness) -> None:
    requested = await harness.request()
    answers: list[Callable[[], messaging.GetMessagesResponse]] = [lambda: messages(1, 3, more=True)]

    async def ends() -> messaging.GetMessagesResponse:
        if not answers:
            raise NotFriends
        return answers.pop()()

    harness.script.answers["get_messages"] = ends
    await harness.making.make(requested)
    assert await harness.texts(requested.data.export_id) == ["text 1", "text 2", "text 3"]


async def test_a_service_that_restarts_is_waited_for_and_one_that_stays_away_makes_it_begin_again(
    harness: Harness,
) -> None:
    requested = await harness.request()
    failures = 2

    async def restarts() -> messaging.GetMessagesResponse:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable(retry_after=5)
        return messages(1, 1, more=False)

    harness.script.answers["get_messages"] = restarts
    failures = 100
    with pytest.raises(Unavailable):
        await harness.making.make(requested)
    assert await harness.made() == []
    failures = 2
    await harness.making.make(requested)
    assert await harness.texts(requested.data.export_id) == ["text 1"]


async def test_long_lists_are_files_of_bounded_size(harness: Harness) -> None:
    requested = await harness.request()
    page = 200

    async def many() -> messaging.GetMessagesResponse:
        after = next(
            asked.after or 0
            for _, asked, _ in reversed(harness.script.asked)
            if isinstance(asked, messaging.GetMessagesRequest)
        )
        return messages(after + 1, page, more=after + page < 12 * page)

    harness.script.answers["get_messages"] = many
    await harness.making.make(requested)
    archive = await harness.file(requested.data.export_id)
    contents = msgspec.json.decode(archive.read("contents.json"))
    (written,) = [one for one in contents["lists"] if one["name"] == f"conversations/{BORIS}"]
    assert written["files"] == [f"conversations/{BORIS}{suffix}.json" for suffix in ("", "-2", "-3")]
    items = [item for file in written["files"] for item in msgspec.json.decode(archive.read(file))]
    assert [item["sequence"] for item in items] == list(range(1, 12 * page + 1))
    assert written["items"] == len(items)
    for file, links in (("", [f"{BORIS}-2"]), ("-2", [BORIS, f"{BORIS}-3"]), ("-3", [f"{BORIS}-2"])):
        shown = archive.read(f"conversations/{BORIS}{file}.html").decode()
        assert all(f'href="{link}.html"' in shown for link in links)
        assert 'href="../index.html"' in shown


async def test_a_file_that_would_be_too_large_fails_for_good_and_is_removed(harness: Harness) -> None:
    requested = await harness.request()
    _, making = harness.replica(most_bytes=500)
    await making.make(requested)
    with pytest.raises(DataExportNotMade, match="larger"):
        await harness.commands.open(harness.user_id, requested.data.export_id, new_id(), Provenance())
    await harness.making.make(requested)
    assert await harness.made() == []
    # Its place is free: no marker of a deletion stays.
    async with asyncio.timeout(60):
        while (await JetStream(harness.nats).info(stream_of_bucket(DATA_EXPORTS))).state.messages:
            await asyncio.sleep(0.1)


async def test_without_the_store_nothing_is_made_and_nothing_is_read(harness: Harness) -> None:
    requested = await harness.request()
    stream = stream_of_bucket(DATA_EXPORTS)
    await harness.nats.jetstream().delete_stream(stream)
    with pytest.raises(Unavailable):
        await harness.making.make(requested)
    await ensure_bucket(harness.nats, DATA_EXPORTS, replicas=1)
    await harness.making.make(requested)
    await harness.nats.jetstream().purge_stream(stream)
    commands = harness.replica()[0]
    with pytest.raises(Unavailable):
        await harness.file(requested.data.export_id, commands)
    # No replica can be that late.
    harness.clock.forward(timedelta(minutes=10))
    with pytest.raises(DataExportExpired, match="lost"):
        await harness.file(requested.data.export_id, commands)


async def test_a_file_that_was_encrypted_with_a_key_that_is_replaced_is_lost(harness: Harness) -> None:
    requested = await harness.request()
    await harness.making.make(requested)
    store = FileStore(KeyValue(harness.nats, DATA_EXPORTS, patience=60.0), b"another key" * 3, most_bytes=1)
    commands = DataExportCommands(Aggregates(Log(harness.nats)), store, clock=harness.clock)
    with pytest.raises(DataExportExpired, match="lost"):
        await harness.file(requested.data.export_id, commands)


async def test_a_copy_ends_after_a_day(harness: Harness) -> None:
    requested = await harness.request()
    await harness.making.make(requested)
    harness.clock.forward(timedelta(days=1))
    for ask in _reads(harness, requested.data.export_id):
        with pytest.raises(DataExportExpired):
            await ask()


def _reads(harness: Harness, export_id: str) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: harness.commands.open(harness.user_id, export_id, new_id(), Provenance()),
        lambda: harness.commands.read(harness.user_id, export_id, 0),
    ]
