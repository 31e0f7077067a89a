"""A handler or fold sees the rows that it looks up as they are at its event, however the events are batched."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipEvent, FriendshipRemoved
from contracts.events.message import MessageSeen, MessageSent
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from projections.engine import Projection, RowChanges, folds, handles, other_than, row_of, rows_of
from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.apply.sequential import batch_size
from projections.engine.dead_letters import resolution
from projections.engine.inspection.verify import verify
from projections.engine.reading.stream_sources import Sources
from projections.engine.rebuild.cutover import drop_build, start_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import BadTables
from streams.message import Message
from tests.integration.projections.event_writer import PATIENCE, RECIPIENT, Opened, Writer, conversation_ids, seen, sent
from tests.integration.projections.test_folds import Operator, letters, message, rows, said

CONVERSATIONS = conversation_ids(2)
ELSEWHERE = timezone(timedelta(hours=5))
PEOPLE = sorted(new_id() for _ in range(5))


@pytest_asyncio.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    opened = await connect(database_url, "looking up")
    await ensure_schema(opened)
    try:
        yield opened
    finally:
        await opened.close()


class Kept(msgspec.Struct):
    """All columns of a row."""

    part: str
    number: int
    amount: int | None
    total: int | None
    text: str | None
    preset: int
    at: datetime | None
    note: dict[str, int] | None


class Brief(msgspec.Struct, frozen=True):
    """Some columns of a row, which are shared between events."""

    number: int
    text: str | None


class Changed(Projection):
    """Makes the changes that a message's text describes, and records what it looks up."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {changed} (
            part text, number bigint, amount bigint, total bigint, text text COLLATE "C",
            preset bigint NOT NULL DEFAULT 3 + 4, at timestamptz, note jsonb DEFAULT '{"a": 1}',
            unseen text DEFAULT 'unseen', PRIMARY KEY (part, number)
        );
        CREATE TABLE {found} (sequence bigint PRIMARY KEY, one jsonb, part jsonb, brief jsonb)
    """

    @handles(
        MessageSent,
        one=row_of("changed", Kept, key=lambda event: _changes(event)["key"]),
        part=rows_of("changed", Kept, key=lambda event: {"part": _changes(event)["key"]["part"]}),
        brief=rows_of("changed", Brief, key=lambda event: {"part": _changes(event)["key"]["part"]}),
    )
    def sent(
        self,
        event: Recorded[MessageSent],
        write: RowChanges,
        one: Kept | None,
        part: list[Kept],
        brief: list[Brief],
    ) -> None:
        write.insert("found", key={"sequence": event.sequence}, set={"one": one, "part": part, "brief": brief})
        change = _changes(event)
        key, action = change["key"], change["action"]
        values = {name: columns for name, columns in change["values"].items() if columns}
        if action == "poison":
            write.upsert("changed", key=key, set={"text": "half"})
            raise ValueError(action)
        if action == "delete_all":
            write.delete_all("changed", key={"part": key["part"]})
        elif action == "delete":
            write.delete("changed", key=key)
        elif action == "insert":
            write.insert("changed", key=key, set=values.get("set"), first=values.get("first"))
        elif action == "update":
            write.update("changed", key=key, **values)
        else:
            write.upsert("changed", key=key, **values)
            write.upsert(
                "changed",
                key={**key, "number": 9},
                set={"at": event.at.astimezone(ELSEWHERE), "note": {"b": event.sequence}},
            )


def _changes(event: Recorded[MessageSent]) -> dict[str, Any]:
    changes: dict[str, Any] = msgspec.json.decode(str(event.data.text))
    return changes


small = st.none() | st.integers(-3, 3)
values = st.fixed_dictionaries(
    {},
    optional={
        "set": st.fixed_dictionaries(
            {}, optional={"text": st.none() | st.sampled_from(["", "x", "ü"]), "preset": st.integers(0, 3)}
        ),
        "add": st.fixed_dictionaries({}, optional={"total": st.integers(-3, 3)}),
        "greatest": st.fixed_dictionaries({}, optional={"amount": small}),
    },
)
other_values = st.fixed_dictionaries(
    {},
    optional={
        "first": st.fixed_dictionaries({}, optional={"text": st.none() | st.sampled_from(["y"])}),
        "least": st.fixed_dictionaries({}, optional={"amount": small, "preset": st.integers(5, 9)}),
        "add": st.fixed_dictionaries({}, optional={"total": st.integers(-3, 3)}),
    },
)
changes = st.fixed_dictionaries(
    {
        "key": st.fixed_dictionaries({"part": st.sampled_from(["a", "b"]), "number": st.integers(1, 2)}),
        "action": st.sampled_from(["upsert", "upsert", "insert", "update", "delete", "delete_all", "poison"]),
        "values": values | other_values,
    }
)


async def test_rows_are_looked_up_as_the_database_would_have_them_at_that_event(conn: Connection) -> None:
    loop = asyncio.get_running_loop()

    async def applied(messages: list[Message], cuts: Mapping[int, bool]) -> tuple[object, ...]:
        build = await start_build(conn, Changed)
        writer = await BuildWriter.open(conn, Changed, build)
        batch = writer.batch()
        for each in messages:
            await writer.add_to_batch(batch, MESSAGING, [each], each.sequence)
            if each.sequence in cuts:
                await writer.commit(batch)
                if cuts[each.sequence]:
                    writer = await BuildWriter.open(conn, Changed, build)
                batch = writer.batch()
        await writer.commit(batch)
        found = await rows(conn, f"SELECT * FROM {build.table(Changed.view('found'))} ORDER BY 1")
        changed = await rows(conn, f"SELECT * FROM {build.table(Changed.view('changed'))} ORDER BY 1, 2")
        waiting = await letters(conn, build)
        await drop_build(conn, Changed, build)
        return found, changed, waiting

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        happened=st.lists(
            st.tuples(st.sampled_from([*CONVERSATIONS, *conversation_ids(3)]), changes), min_size=1, max_size=14
        ),
        cuts=st.dictionaries(st.integers(1, 14), st.booleans(), max_size=4),
    )
    def check(happened: list[tuple[str, dict[str, Any]]], cuts: dict[int, bool]) -> None:
        messages = said(*((conversation, msgspec.json.encode(change).decode()) for conversation, change in happened))
        # One by one, every row is looked up in the database.
        one_by_one, *others = (
            asyncio.run_coroutine_threadsafe(applied(messages, way), loop).result(PATIENCE)
            for way in (dict.fromkeys(range(15), False), {}, cuts)
        )
        assert others == [one_by_one, one_by_one]

    await asyncio.to_thread(check)


class Friend(msgspec.Struct, frozen=True):
    friend_id: str


def _of(person: str) -> Any:  # noqa: ANN401 - a function of any event
    return lambda event: {"user_id": getattr(event.data, person)}


class Mutuals(Projection):
    """How many friends two people have in common, for all who have any."""

    streams = (CONTACT,)
    tables = """
        CREATE TABLE {friends} (user_id uuid, friend_id uuid, PRIMARY KEY (user_id, friend_id));
        CREATE TABLE {mutuals} (
            user_id uuid, other_id uuid, friends bigint NOT NULL CHECK (friends < 100), PRIMARY KEY (user_id, other_id)
        );
    """

    @handles(
        FriendshipAccepted,
        ours=rows_of("friends", Friend, key=_of("requester_id")),
        theirs=rows_of("friends", Friend, key=_of("addressee_id")),
    )
    def accepted(
        self, event: Recorded[FriendshipAccepted], write: RowChanges, ours: list[Friend], theirs: list[Friend]
    ) -> None:
        one, other = event.data.requester_id, event.data.addressee_id
        write.upsert("friends", key={"user_id": one, "friend_id": other})
        write.upsert("friends", key={"user_id": other, "friend_id": one})
        _count(write, one, theirs, 1)
        _count(write, other, ours, 1)

    @handles(
        FriendshipRemoved,
        ours=rows_of("friends", Friend, key=_of("remover_id")),
        theirs=rows_of("friends", Friend, key=_of("other_id")),
    )
    def removed(
        self, event: Recorded[FriendshipRemoved], write: RowChanges, ours: list[Friend], theirs: list[Friend]
    ) -> None:
        one, other = event.data.remover_id, event.data.other_id
        if Friend(other) not in ours:
            # A request was withdrawn.
            return
        write.delete("friends", key={"user_id": one, "friend_id": other})
        write.delete("friends", key={"user_id": other, "friend_id": one})
        _count(write, one, theirs, -1)
        _count(write, other, ours, -1)


def _count(write: RowChanges, person: str, others: list[Friend], by: int) -> None:
    """Counts one more or less common friend of a person and each of the others."""
    for other in others:
        if other.friend_id != person:
            write.upsert("mutuals", key={"user_id": person, "other_id": other.friend_id}, add={"friends": by})
            write.upsert("mutuals", key={"user_id": other.friend_id, "other_id": person}, add={"friends": by})


def friendships(*pairs: tuple[str, str]) -> list[FriendshipEvent]:
    """Each pair becomes friends, or no longer is."""
    friends: set[frozenset[str]] = set()
    events: list[FriendshipEvent] = []
    for one, other in pairs:
        pair = frozenset((one, other))
        friends ^= {pair}
        events.append(
            FriendshipAccepted(requester_id=one, addressee_id=other)
            if pair in friends
            else FriendshipRemoved(remover_id=one, other_id=other)
        )
    return events


def mutual_friends(pairs: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    friends: set[frozenset[str]] = set()
    for pair in pairs:
        friends ^= {frozenset(pair)}
    of = {person: {other for other in PEOPLE if frozenset((person, other)) in friends} for person in PEOPLE}
    counts = {(one, other): len(of[one] & of[other]) for one in PEOPLE for other in PEOPLE if one != other}
    return {pair: count for pair, count in counts.items() if count}


async def test_an_event_is_fanned_out_to_all_friends_in_any_batches(
    streams: Client, writer: Writer, run: Opened, conn: Connection, database_url: str
) -> None:
    loop = asyncio.get_running_loop()

    async def applied(events: list[FriendshipEvent], size: int) -> dict[tuple[str, str], int]:
        build = await start_build(conn, Mutuals)
        filling = await BuildWriter.open(conn, Mutuals, build)
        messages = []
        for sequence, event in enumerate(events, start=1):
            one, other = msgspec.structs.astuple(event)[1:3]
            messages.append(
                msgspec.structs.replace(
                    message(sequence, subjects.friendship(pair_id(one, other)), event), stream=CONTACT
                )
            )
        for start in range(0, len(messages), size):
            part = messages[start : start + size]
            await filling.apply(CONTACT, part, part[-1].sequence)
        table = build.table(Mutuals.view("mutuals"))
        counts = await rows(
            conn, f"SELECT user_id::text, other_id::text, friends FROM {table} WHERE friends <> 0 ORDER BY 1, 2"
        )
        await drop_build(conn, Mutuals, build)
        return {(str(one), str(other)): int(str(count)) for one, other, count in counts}

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        pairs=st.lists(st.permutations(PEOPLE).map(lambda people: (people[0], people[1])), min_size=1, max_size=25),
        size=st.integers(1, 25),
    )
    def check(pairs: list[tuple[str, str]], size: int) -> None:
        result = asyncio.run_coroutine_threadsafe(applied(friendships(*pairs), size), loop).result(PATIENCE)
        assert result == mutual_friends(pairs)

    await asyncio.to_thread(check)
    # The same as a service does it.
    pairs = [(one, other) for one in PEOPLE for other in PEOPLE if one < other]
    for one, other in pairs:
        last = await writer.append(
            subjects.friendship(pair_id(one, other)), FriendshipAccepted(requester_id=one, addressee_id=other)
        )
    runners = await run(Mutuals)
    await runners.waiting.wait(Mutuals, Position.at(CONTACT, last), PATIENCE)
    assert await rows(conn, "SELECT count(*), min(friends), max(friends) FROM mutuals_v1") == [(20, 3, 3)]
    assert (await verify(Mutuals, streams, database_url)).equal


class Typed(msgspec.Struct):
    id: str
    text: str
    number: int
    amount: Decimal
    moment: datetime
    day: date | None
    ids: list[str]


class Types(Projection):
    """Writes values of other types than those that are loaded."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {types} (
            id uuid PRIMARY KEY, text text, number bigint, amount numeric DEFAULT 0, moment timestamptz, day date,
            ids uuid[]
        );
        CREATE TABLE {found} (sequence bigint PRIMARY KEY, row jsonb)
    """

    @handles(MessageSent, row=row_of("types", Typed, key=lambda event: {"id": event.aggregate_id.upper()}))
    def sent(self, event: Recorded[MessageSent], write: RowChanges, row: Typed | None) -> None:
        write.insert("found", key={"sequence": event.sequence}, set={"row": row})
        identity = UUID(event.aggregate_id)
        changes: dict[str, Any] = {
            "text": event.sequence,
            "number": Decimal(event.sequence),
            "moment": event.at.astimezone(ELSEWHERE),
            "ids": (identity,),
        }
        if str(event.data.text) == "day":
            changes["day"] = event.at
        write.upsert("types", key={"id": identity}, set=changes, add={"amount": 1})


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_looked_up_values_have_the_types_of_loaded_ones_in_any_batches(conn: Connection, size: int) -> None:
    one, other = CONVERSATIONS
    messages = said((one, "a"), (other, "b"), (one, "c"), (one, "d"), (other, "e"), (one, "f"), (other, "day"))
    build = await start_build(conn, Types)
    writer = await BuildWriter.open(conn, Types, build)
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        await writer.apply(MESSAGING, part, part[-1].sequence)
    # A day that is a time is refused, since the column would cut it.
    assert await letters(conn, build) == [(7, "failed")]
    table = build.table(Types.view("found"))
    found = [row for (row,) in await rows(conn, f"SELECT row FROM {table} ORDER BY sequence")]
    assert found[:2] == [None, None]
    assert found[3] == {
        "id": one,
        "text": "3",
        "number": 3,
        "amount": "2",
        "moment": "2026-01-31T12:00:03Z",
        "day": None,
        "ids": [one],
    }
    assert len(found) == 6


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("id uuid PRIMARY KEY, text numeric(10, 2)", "text rounds or pads its values, and cannot be looked up"),
        ("id uuid PRIMARY KEY, text real", "text is of type real, which cannot be looked up"),
        ("id numeric PRIMARY KEY, text text", "id is of type numeric, which cannot be looked up as a key"),
    ],
)
async def test_a_column_that_changes_its_values_cannot_be_looked_up(
    conn: Connection, columns: str, reason: str
) -> None:
    class Rounded(Projection):
        streams = (MESSAGING,)
        tables = f"CREATE TABLE {{rounded}} ({columns})"

        @handles(MessageSent, row=row_of("rounded", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, row: Text | None) -> None: ...

    build = await start_build(conn, Rounded)

    async def apply() -> None:
        writer = await BuildWriter.open(conn, Rounded, build)
        await writer.apply(MESSAGING, said((CONVERSATIONS[0], "a")), 1)

    with pytest.raises(BadTables, match=f"projection rounded: rounded.{reason}"):
        await apply()


async def test_a_row_that_the_table_refuses_is_not_seen_by_later_events(conn: Connection) -> None:
    class Checked(Projection):
        streams = (MESSAGING,)
        tables = """
            CREATE TABLE {checked} (id uuid, number bigint, text text CHECK (text <> 'no'), PRIMARY KEY (id, number));
            CREATE TABLE {sizes} (sequence bigint PRIMARY KEY, size bigint)
        """

        @handles(MessageSent, rows=rows_of("checked", Text, key=lambda event: {"id": RECIPIENT}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, rows: list[Text]) -> None:
            key = {"id": RECIPIENT, "number": event.sequence}
            write.upsert("checked", key=key, set={"text": str(event.data.text)})
            write.insert("sizes", key={"sequence": event.sequence}, set={"size": len(rows)})

    one, other = CONVERSATIONS
    messages = said((one, "a"), (one, "no"), (other, "b"), (one, "c"), (other, "d"))
    build = await start_build(conn, Checked)
    writer = await BuildWriter.open(conn, Checked, build)
    await writer.apply(MESSAGING, messages, 5)
    assert await letters(conn, build) == [(2, "failed"), (4, "parked")]
    table = build.table(Checked.view("sizes"))
    assert await rows(conn, f"SELECT sequence, size FROM {table} ORDER BY 1") == [(1, 0), (3, 1), (5, 2)]


class Text(msgspec.Struct, frozen=True):
    text: str


class Mark(msgspec.Struct, frozen=True):
    sequence: int


class Unread(msgspec.Struct, frozen=True):
    sent: int
    unread: int


class Readers(Projection):
    """A fold that looks up a handled and a folded table."""

    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {marks} (
            conversation_id uuid, reader_id uuid, sequence bigint, PRIMARY KEY (conversation_id, reader_id)
        );
        CREATE TABLE {unread} (conversation_id uuid PRIMARY KEY, sent bigint NOT NULL, unread bigint NOT NULL)
    """

    @handles(
        MessageSeen, unread=row_of("unread", Unread, key=lambda event: {"conversation_id": event.data.conversation_id})
    )
    def seen(self, event: Recorded[MessageSeen], write: RowChanges, unread: Unread | None) -> None:
        assert unread is not None
        assert unread.sent >= event.data.sequence, "it cannot be seen before it was sent"
        write.upsert(
            "marks",
            key={"conversation_id": event.data.conversation_id, "reader_id": event.data.reader_id},
            greatest={"sequence": event.data.sequence},
        )

    @folds(
        MessageSent,
        table="unread",
        key="conversation_id",
        mark=row_of(
            "marks",
            Mark,
            key=lambda event: {"conversation_id": event.aggregate_id, "reader_id": event.data.recipient_id},
        ),
    )
    def said(self, row: Unread | None, event: Recorded[MessageSent], mark: Mark | None) -> Unread:
        if str(event.data.text) == "poison":
            raise ValueError("poison")
        return Unread((row.sent if row else 0) + 1, event.data.sequence - (mark.sequence if mark else 0))


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_fold_and_a_handler_look_up_what_the_other_has_written_in_the_batch(
    conn: Connection, size: int
) -> None:
    (conversation, _) = CONVERSATIONS
    messages = []
    for sequence in range(1, 12):
        is_mark = sequence in (4, 8, 9)
        event = seen(conversation, sequence // 2) if is_mark else sent(f"text {sequence}", sequence)
        subject = subjects.read_mark(conversation, RECIPIENT) if is_mark else subjects.conversation(conversation)
        messages.append(message(sequence, subject, event))
    build = await start_build(conn, Readers)
    writer = await BuildWriter.open(conn, Readers, build)
    for start in range(0, len(messages), size):
        part = messages[start : start + size]
        await writer.apply(MESSAGING, part, part[-1].sequence)
    assert await letters(conn, build) == []
    assert await rows(conn, "SELECT sent, unread FROM readers_unread_v1_b1") == [(8, 7)]


async def test_a_fold_with_lookups_goes_on_from_its_row_in_a_retry(
    streams: Client, writer: Writer, run: Opened, conn: Connection
) -> None:
    runners = await run(Readers)
    last = await writer.say(CONVERSATIONS[0], "a", "poison", "b")
    await runners.waiting.wait(Readers, Position.at(MESSAGING, last), PATIENCE)
    (head,) = await resolution.first_failures(conn, Readers)
    await Operator(conn, streams, Readers).discard()
    assert head.reason.startswith("ValueError: details withheld")
    assert await rows(conn, f"SELECT sent, unread FROM {Readers.view('unread')}") == [(2, 3)]


async def test_a_batch_with_lookups_is_limited_in_size(
    streams: Client, writer: Writer, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    friends = [(one, other) for one in PEOPLE for other in PEOPLE if one < other]
    for one, other in friends:
        event = FriendshipAccepted(requester_id=one, addressee_id=other)
        await writer.append(subjects.friendship(pair_id(one, other)), event)
    monkeypatch.setattr(batch_size, "_FIRST", 3)
    filling = await BuildWriter.open(conn, Mutuals, await start_build(conn, Mutuals))
    pipeline = Pipeline(Sources(streams, Mutuals.filters(), Position(), name="test", limit=1), filling)
    sizes: list[int] = []
    commit = BuildWriter.commit

    async def slowly(of: BuildWriter, batch: Batch) -> None:
        async with asyncio.timeout(PATIENCE):
            while not pipeline._is_full() and sum(sizes) + batch.events + pipeline._next.events < len(friends):
                await asyncio.sleep(0.001)
        await commit(of, batch)

    monkeypatch.setattr(BuildWriter, "commit", slowly)
    async with pipeline:
        while sum(sizes) < len(friends):
            if (batch := await pipeline.step(PATIENCE)) is not None:
                sizes.append(batch.events)
    # The first one has looked up few rows, so the next one but one may have more events.
    assert sizes == [1, 3, 6]


async def test_what_a_lookup_cannot_evaluate_in_memory_is_refused(conn: Connection) -> None:
    class Conditional(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {conditional} (id uuid PRIMARY KEY, text text)"

        @handles(MessageSent, row=row_of("conditional", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, row: Text | None) -> None:
            write.upsert(
                "conditional", key={"id": event.aggregate_id}, set={"text": ""}, where={"text": other_than("a")}
            )

    build = await start_build(conn, Conditional)
    writer = await BuildWriter.open(conn, Conditional, build)
    await writer.apply(MESSAGING, said((CONVERSATIONS[0], "a")), 1)
    assert await rows(conn, "SELECT reason FROM projection_dead_letters") == [
        ("UnsupportedValue: details withheld: the event may contain personal data",)
    ]


class Closed(Projection):
    streams = (MESSAGING,)
    tables = "CREATE TABLE {closed} (id uuid PRIMARY KEY, text text)"

    @handles(MessageSent, rows=rows_of("conversations", Text, key=lambda event: {"id": event.aggregate_id}))
    def sent(self, event: Recorded[MessageSent], write: RowChanges, rows: list[Text]) -> None: ...


def test_the_tables_of_other_projections_are_closed() -> None:
    with pytest.raises(ValueError) as error:
        Closed.check()
    line = Closed.sent.__code__.co_firstlineno
    assert str(error.value) == (
        f"projection closed, sent in line {line}: it looks up conversations, which is not a table of this projection;"
        " those of others are closed, since they are at other positions"
    )


def test_a_lookup_needs_a_parameter() -> None:
    class Nameless(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {nameless} (id uuid PRIMARY KEY, text text)"

        @handles(MessageSent, rows=rows_of("nameless", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None: ...

    with pytest.raises(ValueError, match="it has no parameter rows for what it looks up"):
        Nameless.check()


async def test_of_a_folded_table_only_what_is_folded_is_looked_up(conn: Connection) -> None:
    class Beside(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {beside} (id uuid PRIMARY KEY, sequence bigint, text text DEFAULT 'not folded')"

        @folds(MessageSent, table="beside", key="id", row=row_of("beside", Text, key=lambda event: {"id": RECIPIENT}))
        def sent(self, before: Mark | None, event: Recorded[MessageSent], row: Text | None) -> Mark:
            return Mark(event.sequence)

    build = await start_build(conn, Beside)
    with pytest.raises(BadTables, match=r"Text\.text is looked up in beside, but not a field of the Mark that events"):
        await BuildWriter.open(conn, Beside, build)


async def test_a_looked_up_row_has_to_fit_its_table(conn: Connection) -> None:
    class Unfit(Projection):
        streams = (MESSAGING,)
        tables = "CREATE TABLE {unfit} (id uuid PRIMARY KEY, words text)"

        @handles(MessageSent, rows=rows_of("unfit", Text, key=lambda event: {"id": event.aggregate_id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, rows: list[Text]) -> None: ...

    build = await start_build(conn, Unfit)
    with pytest.raises(BadTables, match=r"Text\.text is looked up in unfit, but not one of its columns"):
        await BuildWriter.open(conn, Unfit, build)
