"""Given/when/then tests of projections on a real PostgreSQL: given events, when others happen, then check the rows.

    async def test_messages_are_counted(read_model: OpenReadModel) -> None:
        model = await read_model(Talkativeness)
        await model.given(sent_by(ANNA), sent_by(ANNA))
        await model.when(sent_by(BORIS))
        assert await model.rows("SELECT user_id, messages FROM {talkativeness}") == [...]

The engine applies the events as in a service, but without streams. At the end of the test all events are applied again:
in one go with the streams in either order, one by one with a restart in between, and with a new instance for each
batch. If the rows differ, the projection would not survive a rebuild, and the test fails. It also fails, with handler
and line, if a handler reads the clock, a random number or the environment, or keeps state (tests/handler_watch.py).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import chain, zip_longest
from typing import Protocol
from unittest.mock import patch

import pytest_asyncio

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.envelope import Provenance, encode, seal
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import MessageChange, MessageSeen, MessageSent
from contracts.values.ids import new_id, pair_id
from projections.engine import Projection
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.inspection.table_diff import Comparison, compare
from projections.engine.rebuild.cutover import drop_build, start_build
from projections.engine.storage import dead_letters
from projections.engine.storage.builds import Build, Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import inspect, relation_shown
from streams.message import Message
from tests.handler_watch import HandlerWatch, after_a_restart

# Default time of the first event; each further one happens a second later.
BEGINNING = datetime(2026, 1, 31, 12, tzinfo=UTC)
# Events of a small batch.
_SMALL_BATCH = 3


class ReadModelUnderTest:
    """One projection with its own tables, initially empty."""

    def __init__(
        self,
        projection: type[Projection],
        conn: Connection,
        beside: Connection,
        build: Build,
        writer: BuildWriter,
        watch: HandlerWatch,
    ) -> None:
        self._projection = projection
        self._conn = conn
        self._beside = beside
        self._build = build
        self._writer = writer
        self._watch = watch
        self._happened: list[Message] = []
        self._versions: dict[str, int] = {}
        self._at = BEGINNING

    async def given(self, *events: Event, of: str | None = None, at: datetime | str | None = None) -> None:
        """Applies the events as one batch, as the engine does with a backlog.

        `of`: the id of their aggregate; by default derived from the data of events between two people, and a new id
        for others. `at`: the time of the first event, as a datetime or in RFC 3339.
        """
        await self._apply(self._conn, self._writer, self._messages(events, of, at))

    async def when(self, *events: Event, of: str | None = None, at: datetime | str | None = None) -> None:
        """Applies the events one by one, as the engine does without a backlog."""
        for message in self._messages(events, of, at):
            await self._apply(self._conn, self._writer, [message])

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        """Returns the rows of a query; `{table}` becomes a table of the projection. UUIDs are returned as text."""
        names = {name: relation_shown(self._projection, self._build, name) for name in self._projection.reader_names()}
        cursor = await self._conn.execute(self._projection.with_tables(query, names).encode())
        uuids = {index for index, column in enumerate(cursor.description or ()) if column.type_display == "uuid"}
        return [
            tuple(str(value) if index in uuids and value is not None else value for index, value in enumerate(row))
            for row in await cursor.fetchall()
        ]

    async def follows_from_the_events_alone(self) -> None:
        """Fails if the rows differ when the same events are applied in other batches, orders and processes."""
        streams = list(self._projection.filters())
        by_stream = [[message for message in self._happened if message.stream == stream] for stream in streams]
        in_turn = [[message] for turn in zip_longest(*by_stream) for message in turn if message is not None]
        middle, count = len(in_turn) // 2, len(self._happened)
        as_they_happened = [self._happened[start : start + _SMALL_BATCH] for start in range(0, count, _SMALL_BATCH)]
        await self._replay("in one go", [[list(chain(*by_stream))]])
        await self._replay("in one go, with the streams in the opposite order", [[list(chain(*by_stream[::-1]))]])
        await self._replay("one by one, with a restart halfway", [in_turn[:middle], in_turn[middle:]])
        await self._replay("with a new instance for each batch", [[batch] for batch in as_they_happened])

    async def _replay(self, difference: str, runs: Sequence[Sequence[Sequence[Message]]]) -> None:
        """Applies batches of events to a build of its own and compares the rows; each run is another process."""
        build = await start_build(self._beside, self._projection)
        for batches in runs:
            with after_a_restart(self._projection) as projection:
                writer = await BuildWriter.open(self._beside, self._watch.watched(projection), build)
                for batch in batches:
                    await self._apply(self._beside, writer, batch)
        comparison = Comparison()
        rows = await inspect(self._conn, self._projection, self._build)
        others = await inspect(self._beside, self._projection, build)
        async with self._conn.transaction(), self._beside.transaction():
            for name, table in rows.items():
                await compare(self._conn, table, self._beside, others[name], comparison)
        assert comparison.differences == [], f"other rows when the events are applied {difference}"
        await drop_build(self._beside, self._projection, build)

    async def _apply(self, conn: Connection, writer: BuildWriter, messages: Sequence[Message]) -> None:
        """Applies the messages as one batch, the streams in the order of their first messages."""
        batch = writer.batch()
        for stream in dict.fromkeys(message.stream for message in messages):
            of_stream = [message for message in messages if message.stream == stream]
            await writer.add_to_batch(batch, stream, of_stream, of_stream[-1].sequence)
        await writer.commit(batch)
        self._watch.check()
        cursor = await conn.execute("SELECT type, reason FROM projection_dead_letters WHERE state = 'failed'")
        failed = [f"{kind}: {reason}" for kind, reason in await cursor.fetchall()]
        assert not failed, "\n".join(["an event could not be applied", *failed])

    def _messages(self, events: Sequence[Event], of: str | None, at: datetime | str | None) -> list[Message]:
        if at is not None:
            self._at = datetime.fromisoformat(at) if isinstance(at, str) else at
        return [self._message(event, of) for event in events]

    def _message(self, event: Event, of: str | None) -> Message:
        channel = AGGREGATE_TYPE_OF[event.TYPE]
        subject = subject_of(event, of)
        subject_filter = self._projection.filters().get(channel.stream, "")
        assert subject_filter != "", f"the projection does not read {channel.stream}"
        assert subject_filter is None or fnmatchcase(channel.address, subject_filter.replace(">", "*")), (
            f"it does not see {event.TYPE}"
        )
        version = self._versions[subject] = self._versions.get(subject, 0) + 1
        envelope = seal(
            event,
            aggregate_id=aggregate_id_of(event, subject),
            version=version,
            provenance=Provenance(),
            at=self._at,
        )
        self._at += timedelta(seconds=1)
        sequence = 1 + sum(message.stream == channel.stream for message in self._happened)
        message = Message(stream=channel.stream, sequence=sequence, subject=subject, payload=encode(envelope))
        self._happened.append(message)
        return message


class OpenReadModel(Protocol):
    async def __call__(self, projection: type[Projection]) -> ReadModelUnderTest: ...


@asynccontextmanager
async def opened(projection: type[Projection], database_url: str) -> AsyncIterator[ReadModelUnderTest]:
    """Yields a projection on empty tables in the database, and checks its rebuild at the end."""
    conn, beside = [await connect(database_url, projection.name) for _ in range(2)]
    # Whatever a test's event contains may be in the reason why it failed.
    shows_reasons = patch.object(dead_letters, "_quotes_no_value", return_value=True)
    async with conn, beside:
        await ensure_schema(conn)
        build = await start_build(conn, projection)
        watch = HandlerWatch()
        writer = await BuildWriter.open(conn, watch.watched(projection), build)
        model = ReadModelUnderTest(projection, conn, beside, build, writer, watch)
        with shows_reasons:
            yield model
            await model.follows_from_the_events_alone()


@pytest_asyncio.fixture
async def read_model(database_url: str) -> AsyncIterator[OpenReadModel]:
    """Opens read models; see the module's docstring."""
    async with AsyncExitStack() as stack:

        async def start(projection: type[Projection]) -> ReadModelUnderTest:
            return await stack.enter_async_context(opened(projection, database_url))

        yield start


def subject_of(event: Event, of: str | None = None) -> str:
    """The event's subject, from its data where it has the ids; `of`: else the aggregate's id, by default a new one."""
    channel = AGGREGATE_TYPE_OF[event.TYPE]
    return channel.subject(*_ids(event, of, len(channel.parameters)))


def aggregate_id_of(event: Event, subject: str) -> str:
    return subject.removeprefix(AGGREGATE_TYPE_OF[event.TYPE].address.partition("{")[0]).partition(".")[0]


def _ids(event: Event, of: str | None, number: int) -> list[str]:
    """The ids in the event's subject, from its data where it has them."""
    match event:
        case MessageSent():
            return [pair_id(event.sender_id, event.recipient_id)]
        case MessageChange():
            return [event.message_id]
        case MessageSeen():
            return [event.conversation_id, event.reader_id]
        case FriendshipCreated() | FriendshipAccepted():
            return [pair_id(event.requester_id, event.addressee_id)]
        case FriendshipRemoved():
            return [pair_id(event.remover_id, event.other_id)]
    return [of or new_id() for _ in range(number)]
