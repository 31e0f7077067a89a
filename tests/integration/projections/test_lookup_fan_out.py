"""An event that changes the rows of many: friends in common, counted for all friends of both people."""

import asyncio

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from contracts import subjects
from contracts.events.friendship import FriendshipAccepted, FriendshipEvent, FriendshipRemoved
from contracts.positions import Position
from contracts.subjects import CONTACT
from contracts.values.ids import pair_id
from projections.engine.apply.batch import Batch
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.apply.sequential import batch_size
from projections.engine.inspection.verify import verify
from projections.engine.reading.stream_sources import Sources
from projections.engine.rebuild.cutover import drop_build, start_build
from projections.engine.storage.builds import Connection
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer
from tests.integration.projections.folding import message
from tests.integration.projections.sample_lookups import PEOPLE, Mutuals
from tests.integration.projections.stored_rows import rows


def friendships(*pairs: tuple[str, str]) -> list[FriendshipEvent]:
    """Events that make each pair friends, or end their friendship."""
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
