"""A projection begins where it was first started or from a time on, in every build of its version."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from nats.aio.client import Client
from psycopg.errors import UndefinedColumn, UndefinedTable

from contracts import subjects
from contracts.envelope import Provenance, Recorded, now, seal
from contracts.events.message import MessageSent
from contracts.events.profile import ProfileCreated
from contracts.events.projection import ProjectionBegun
from contracts.positions import Position
from contracts.subjects import MESSAGING, PROFILE, PROJECTION_BEGINS_FILTER
from contracts.values.ids import new_id
from contracts.values.timestamps import rfc3339
from projections.engine import Projection, RowChanges, Runners, handles
from projections.engine.controls.reset import reset
from projections.engine.inspection.as_of import opened
from projections.engine.inspection.verify import verify
from projections.engine.reading import begin
from projections.engine.reading.begin import BadBegin, NotBegun
from projections.engine.reading.operator_events import operator_events
from projections.engine.rebuild.rebuild import rebuild
from streams.log import Append, Conflict, Log
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import (
    PATIENCE,
    Opened,
    Writer,
    conversation_ids,
    sent,
    until_ready,
)
from tests.integration.projections.sample_projection import Letters

WIPE = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
ERROR = "SELECT error FROM projection_errors WHERE (projection, version) = ('letters', %s) AND failing"


class Late(Letters):
    name = "letters"
    begin = "now"


class LateFirst(Late):
    name = "letters"
    begin = "first"


class LateLater(Late):
    name = "letters"
    begin = "2026-01-31T12:00:00Z"


class LateTwo(Late):
    name = "letters"
    version = 2


class LateTwoFirst(LateTwo):
    name = "letters"
    begin = "first"


class Both(Projection):
    """The numbers of messages and of profiles."""

    begin = "now"
    streams: ClassVar[Sequence[str]] = (MESSAGING, PROFILE)
    service = "messaging"
    tables = "CREATE TABLE {both} (kind text PRIMARY KEY, number bigint NOT NULL DEFAULT 0)"

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert("both", key={"kind": "message"}, add={"number": 1})

    @handles(ProfileCreated)
    def created(self, event: Recorded[ProfileCreated], write: RowChanges) -> None:
        write.upsert("both", key={"kind": "profile"}, add={"number": 1})


class OneOfBoth(Both):
    """An earlier version of it, which reads one of its streams."""

    name = "both"
    version = 0
    streams = (MESSAGING,)


async def texts(pool: Pool, version: int = 1) -> list[str]:
    async with pool.connection() as conn:
        cursor = await conn.execute(f"SELECT text FROM letters_texts_v{version} ORDER BY text".encode())
        return [str(text) for (text,) in await cursor.fetchall()]


async def waited(runners: Runners, projection: type[Projection], *positions: Position) -> None:
    for position in positions:
        await runners.waiting.wait(projection, position, PATIENCE)


async def errors(pool: Pool, version: int = 1) -> str:
    """The error with which a version of the projection is failing, once it is."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(UndefinedTable, UndefinedColumn):
                async with pool.connection() as conn:
                    row = await (await conn.execute(ERROR, (version,))).fetchone()
                    if row is not None:
                        return str(row[0])
            await asyncio.sleep(0.05)


async def begins(nc: Client) -> int:
    return len(await operator_events(nc, PROJECTION_BEGINS_FILTER, name="test"))


async def append_profile(writer: Writer) -> Position:
    user = new_id()
    created = ProfileCreated(username=f"u{user}", display_name="Anna")
    return Position.at(PROFILE, await writer.append(subjects.profile(user), created))


async def append_at(nc: Client, *moments: datetime) -> int:
    """Messages of one conversation whose envelopes name these times; the last sequence."""
    (conversation,) = conversation_ids(1)
    log, last = Log(nc), 0
    for version, at in enumerate(moments, start=1):
        envelope = seal(
            sent(f"text {version}", version),
            aggregate_id=conversation,
            version=version,
            provenance=Provenance(),
            at=at,
        )
        last = await log.append(Append(subject=subjects.conversation(conversation), expected=last, envelope=envelope))
    return last


async def test_a_record_of_another_service_does_not_say_where_a_projection_begins(streams: Client) -> None:
    forged = ProjectionBegun(projection=Late.name, projection_version=1, begin="now", after={MESSAGING: 7})
    for subject in (
        subjects.projection_begin("auth", Late.name, 1),
        subjects.projection_begin(Late.run_by(), Late.name, 2),
    ):
        envelope = seal(forged, aggregate_id=subject.split(".", 3)[3], version=1, provenance=Provenance())
        await Log(streams).append(Append(subject=subject, expected=0, envelope=envelope))
    assert await begin.recorded(streams, Late) is None
    await begin.record(streams, Late, Position.at(MESSAGING, 3))
    assert await begin.recorded(streams, Late) == Position.at(MESSAGING, 3)


async def test_a_projection_begins_now_in_every_build_and_after_the_loss_of_the_database(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "before 1", "before 2")
    with pytest.raises(NotBegun):
        await rebuild(Late, streams, database_url)
    runners = await run(Late)
    await until_ready(runners)
    last = await writer.say(conversation, "after")
    await waited(runners, Late, Position.at(MESSAGING, last))
    assert await texts(pool) == ["after"]
    assert (await verify(Late, streams, database_url)).equal

    rebuilt = await rebuild(Late, streams, database_url)
    assert (await texts(pool), rebuilt.events) == (["after"], 1)
    async with opened(streams, database_url, "then", now()) as state:
        assert (await state.build(Late)).tables == {"letters": 1, "texts": 1}
        await state.publish()

    await reset(Late, streams, database_url)
    last = await writer.say(conversation, "later")
    await waited(runners, Late, Position.at(MESSAGING, last))
    async with asyncio.timeout(PATIENCE):
        while await texts(pool) != ["after", "later"]:
            await asyncio.sleep(0.05)

    await runners.stop()
    last = await writer.say(conversation, "while it was down")
    async with pool.connection() as conn:
        await conn.execute(WIPE.encode())
    runners = await run(Late)
    await waited(runners, Late, Position.at(MESSAGING, last))
    assert await texts(pool) == ["after", "later", "while it was down"]
    assert (await verify(Late, streams, database_url)).equal
    assert await begins(streams) == 1


async def test_replicas_that_start_at_once_under_traffic_agree_where_it_begins(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "before")

    async def write() -> int:
        last = 0
        for number in range(50):
            last = await writer.say(conversation, f"text {number:02}")
        return last

    last, one, other = await asyncio.gather(write(), run(Late), run(Late))
    await waited(one, Late, Position.at(MESSAGING, last))
    await waited(other, Late, Position.at(MESSAGING, last))
    seen = await texts(pool)
    assert seen == [f"text {number:02}" for number in range(50 - len(seen), 50)]
    assert (await verify(Late, streams, database_url)).equal
    assert await begins(streams) == 1
    # Without the lock in the database, of which two may differ.
    with pytest.raises(Conflict):
        await begin.record(streams, Late, Position.at(MESSAGING, last))


async def test_in_an_empty_system_it_begins_with_the_first_event_and_stores_nothing_before(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    runners = await run(Late)
    await until_ready(runners)
    assert (await texts(pool), await begins(streams)) == ([], 0)
    assert (await verify(Late, streams, database_url)).equal
    last = await writer.say(conversation_ids(1)[0], "one", "two")
    await waited(runners, Late, Position.at(MESSAGING, last))
    assert (await texts(pool), await begins(streams)) == (["one", "two"], 1)
    await rebuild(Late, streams, database_url)
    assert await texts(pool) == ["one", "two"]


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_an_import_into_an_empty_system_brings_the_begin_or_happened_before_it(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str, is_recorded: bool
) -> None:
    runners = await run(Late)
    await until_ready(runners)
    await runners.stop()
    # Events and the record keep their sequences.
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "imported 1", "imported 2")
    if is_recorded:
        await begin.record(streams, Late, Position.at(MESSAGING, 1))
    runners = await run(Late)
    await until_ready(runners)
    last = await writer.say(conversation, "new")
    await waited(runners, Late, Position.at(MESSAGING, last))
    assert await texts(pool) == [*(["imported 2"] if is_recorded else []), "new"]
    assert (await verify(Late, streams, database_url)).equal


async def test_it_begins_with_what_happened_at_a_time(
    streams: Client, run: Opened, pool: Pool, database_url: str
) -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    millisecond = timedelta(milliseconds=1)
    # As after an import: all of them are stored now.
    last = await append_at(streams, noon - millisecond, noon, noon + millisecond)
    runners = await run(LateLater)
    await waited(runners, LateLater, Position.at(MESSAGING, last))
    assert await texts(pool) == ["text 2", "text 3"]
    assert (await verify(LateLater, streams, database_url)).equal


async def test_a_time_between_two_stored_events_is_found_and_one_before_all_is_the_first(
    streams: Client, writer: Writer
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "a")
    between = now() + timedelta(milliseconds=1)
    while now() <= between:
        await asyncio.sleep(0)
    await writer.say(conversation, "b")

    class Between(Late):
        name = "letters"
        begin = rfc3339(between)

    class Ancient(Late):
        name = "letters"
        begin = "0001-01-01T00:00:00Z"

    assert await begin.determine(streams, Between) == Position.at(MESSAGING, 1)
    assert await begin.determine(streams, Ancient) == Position.at(MESSAGING, 0)


async def test_a_begin_in_the_future_waits_until_then(streams: Client, writer: Writer, run: Opened, pool: Pool) -> None:
    class Future(Late):
        name = "letters"
        begin = "9999-01-01T00:00:00Z"

    await writer.say(conversation_ids(1)[0], "a")
    runners = await run(Future)
    assert "is in the future" in await errors(pool)
    # The service serves its other read models.
    await until_ready(runners)
    assert await begins(streams) == 0


async def test_a_begin_that_changed_after_the_start_is_refused_until_the_version_is_raised(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "before")
    runners = await run(Late)
    await until_ready(runners)
    await waited(runners, Late, Position.at(MESSAGING, await writer.say(conversation, "after")))
    await runners.stop()

    changed = await run(LateLater)
    assert 'version 1 has begun with begin = "now", and its class says "2026-01-31T12:00:00Z"' in await errors(pool)
    await changed.stop()
    with pytest.raises(BadBegin, match="raise its version"):
        await verify(LateLater, streams, database_url)
    changed = await run(LateFirst)
    async with asyncio.timeout(PATIENCE):
        while "begins with the first event, and its live build after MESSAGING 1" not in await errors(pool):
            await asyncio.sleep(0.05)
    await changed.stop()
    assert await texts(pool) == ["after"]

    last = await writer.say(conversation, "later")
    taking_over = await run(LateTwo)
    await waited(taking_over, LateTwo, Position.at(MESSAGING, last))
    assert await texts(pool, 2) == ["after", "later"]
    await taking_over.stop()
    from_first = await run(LateTwoFirst)
    assert "begins with the first event" in await errors(pool, 2)
    await from_first.stop()


async def test_a_version_that_began_with_the_first_event_does_not_begin_now(
    writer: Writer, run: Opened, pool: Pool
) -> None:
    last = await writer.say(conversation_ids(1)[0], "a")
    runners = await run(Letters)
    await waited(runners, Letters, Position.at(MESSAGING, last))
    await runners.stop()
    changed = await run(Late)
    assert 'has begun with the first event, and its class says "now"; raise its version' in await errors(pool)
    await changed.stop()
    assert await texts(pool) == ["a"]


async def test_each_stream_has_its_begin_and_one_that_a_later_version_adds_begins_then(
    streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    (conversation,) = conversation_ids(1)
    await writer.say(conversation, "a")
    earlier = await run(OneOfBoth)
    await until_ready(earlier)
    await earlier.stop()
    await writer.say(conversation, "b", "c")
    await append_profile(writer)
    runners = await run(Both)
    await until_ready(runners)
    ends = Position.at(MESSAGING, await writer.say(conversation, "d")), await append_profile(writer)
    await waited(runners, Both, *ends)
    async with pool.connection() as conn:
        rows = await (await conn.execute("SELECT kind, number FROM both_v1 ORDER BY kind")).fetchall()
    assert rows == [("message", 3), ("profile", 1)]
    assert (await verify(Both, streams, database_url)).equal
