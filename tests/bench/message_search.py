"""Measures the search in one's own messages: rare, common and missing words, in few and in many conversations.

The database holds the messages of a recorded history, repeated: a person with thousands of conversations, two people
with a long conversation, a person with a single short one, and others.
"""

import argparse
import asyncio
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.values.ids import new_id, pair_id
from infra.runtime.connections import open_pool
from projections.conversations import Conversations
from projections.engine import PositionWaiter, ReadModel, RowChanges
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows
from projections.engine.apply.writing.statements import copy_statement, lines_to_copy, statement
from projections.engine.changes import RowAction
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage import tables
from projections.engine.storage.builds import BuildState, Connection, set_state
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.message_search import MessageSearch as MessageSearchModel
from services.messaging.search.queries import SearchQueries
from services.messaging.search.search import MessageSearch
from tests.bench import servers
from tests.bench.events import HISTORY, texts
from tests.bench.messenger.gauges import processor_seconds
from tests.bench.report import Row, main, percentile
from tests.processes import family

_MANY, _LONG, _LONGS_PEER, _SHORT = (new_id() for _ in range(4))
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 5_000
_WORD = re.compile("[a-z]+")


class _Search(msgspec.Struct, frozen=True):
    user_id: str
    query: str
    peer_id: str | None = None


async def measure(arguments: argparse.Namespace) -> list[Row]:
    if not HISTORY.exists():
        return [Row("skipped: there is no recorded history beside the project", 0, "")]
    async with servers.postgres() as url:
        begun = time.perf_counter()
        conversations = _people(arguments.conversations)
        await _fill(url, conversations, arguments.messages)
        filled = time.perf_counter() - begun
        pool = await open_pool(url, "bench")
        try:
            projections = (MessageSearchModel, Conversations)
            waiter = PositionWaiter(projections, NATS(), pool)
            search = MessageSearch(SearchQueries(*(ReadModel(model, pool, waiter) for model in projections)))
            rows = [Row(f"filling {arguments.messages:,} messages into both", arguments.messages / filled, "rows/s")]
            kinds = _searches(conversations[0][1], arguments.searches)
            for what, searches in kinds.items():
                rows += await _timed(search, what, searches, arguments.in_flight)
            mixed = [search for searches in kinds.values() for search in searches]
            random.Random(3).shuffle(mixed)
            rows += await _timed(search, "all of these, mixed", mixed, arguments.in_flight)
        finally:
            await pool.close()
        return rows


def _people(many: int) -> list[tuple[str, str, int]]:
    """Returns the two people of each conversation, and its share of the messages."""
    # A tenth of the messages are those of one person, another tenth are a single conversation.
    pairs = [(_MANY, new_id(), 4) for _ in range(many)]
    pairs += [(_LONG, _LONGS_PEER, 4 * many), (_SHORT, new_id(), 4)]
    others = [new_id() for _ in range(many)]
    pairs += [(one, other, 8) for one in others for other in random.Random(one).sample(others, 4) if other != one]
    return pairs


async def _fill(url: str, conversations: list[tuple[str, str, int]], messages: int) -> None:
    """Fills the read models as the engine writes them, without the streams."""
    conn = await connect(url, "bench")
    try:
        await ensure_schema(conn)
        for projection in (MessageSearchModel, Conversations):
            build = await start_build(conn, projection)
            shapes = Shapes(await tables.inspect(conn, projection, build))
            handlers = projection().handlers()
            for batch in _batches(conversations, messages):
                merged = MergedRows(shapes)
                for event in batch:
                    write = RowChanges()
                    for handler in handlers.get(event.data.TYPE, ()):
                        handler(event, write)
                    merged.merge(write.changes)
                await _write(conn, merged)
            await tables.add_indexes(conn, projection, build)
            for table in projection.table_names():
                await tables.show(conn, projection, build, table)
            await set_state(conn, build, BuildState.LIVE)
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()


async def _write(conn: Connection, merged: MergedRows) -> None:
    async with conn.transaction():
        for group in merged.groups():
            if group.shape.action is RowAction.INSERT:
                async with conn.cursor() as cursor, cursor.copy(copy_statement(group)) as copy:
                    await copy.write("".join(f"{line}\n" for line in sorted(lines_to_copy(group))).encode())
            else:
                await conn.execute(*statement(group))


def _batches(conversations: list[tuple[str, str, int]], messages: int) -> Iterator[list[Recorded[Event]]]:
    """The friendships, then the messages, those of all conversations among each other."""
    accepted = [
        _recorded(
            subjects.CONTACT, number, pair_id(one, other), FriendshipAccepted(requester_id=one, addressee_id=other)
        )
        for number, (one, other, _) in enumerate(conversations, start=1)
    ]
    yield from (accepted[start : start + _BATCH] for start in range(0, len(accepted), _BATCH))
    chance, lines, last = random.Random(5), texts(), Counter[str]()
    shares = [share for _, _, share in conversations]
    for start in range(0, messages, _BATCH):
        batch: list[Recorded[Event]] = []
        for number, (one, other, _) in enumerate(chance.choices(conversations, shares, k=_BATCH), start=start + 1):
            pair = pair_id(one, other)
            last[pair] += 1
            sender, recipient = (one, other) if chance.random() < 0.5 else (other, one)
            event = MessageSent(
                message_id=new_id(),
                sender_id=sender,
                recipient_id=recipient,
                sequence=last[pair],
                text=lines[chance.randrange(len(lines))],
                client_message_id=str(number),
            )
            batch.append(_recorded(subjects.MESSAGING, number, pair, event))
        yield batch


def _recorded(stream: str, number: int, aggregate_id: str, event: Event) -> Recorded[Event]:
    return Recorded(
        stream=stream,
        sequence=number,
        subject="",
        id=aggregate_id,
        type=event.TYPE,
        aggregate_id=aggregate_id,
        version=1,
        at=_BEGIN + timedelta(seconds=number),
        actor=None,
        correlation_id=None,
        causation_id=None,
        data=event,
    )


def _searches(peer_id: str, number: int) -> dict[str, list[_Search]]:
    chance = random.Random(11)
    counts = Counter(word for line in texts() for word in set(_WORD.findall(line.lower())) if len(word) > 3)
    by_count = sorted(counts, key=lambda word: counts[word])
    once = [word for word in by_count if counts[word] == 1]
    # In one message of 200 to one of 20.
    at_times = [word for word in by_count if len(texts()) / 200 <= counts[word] <= len(texts()) / 20]

    def of_all(user_id: str, queries: list[str]) -> list[_Search]:
        return [_Search(user_id, query) for query in queries]

    rare, middling = chance.choices(once, k=number), chance.choices(at_times, k=number)
    return {
        "many conversations: a rare word": of_all(_MANY, rare),
        "many conversations: a common word": of_all(_MANY, ["the"] * number),
        "many conversations: a word in between": of_all(_MANY, middling),
        "many conversations: two letters, with which words begin": of_all(_MANY, [word[:2] for word in middling]),
        "many conversations: two words in between": of_all(
            _MANY, [f"{one} {other[:3]}" for one, other in zip(middling, rare, strict=True)]
        ),
        "many conversations: no such word": of_all(_MANY, [f"x{word[::-1]}q" for word in rare]),
        "one of many conversations: a word in between": [_Search(_MANY, word, peer_id) for word in middling],
        "a long conversation: a rare word": of_all(_LONG, rare),
        "a long conversation: a common word": of_all(_LONG, ["the"] * number),
        "a long conversation: a word in between": of_all(_LONG, middling),
        "a long conversation, named: a word in between": [_Search(_LONG, word, _LONGS_PEER) for word in middling],
        "a single conversation: a common word": of_all(_SHORT, ["the"] * number),
        "a single conversation: a rare word": of_all(_SHORT, rare),
    }


async def _timed(search: MessageSearch, what: str, searches: list[_Search], in_flight: int) -> list[Row]:
    taken: list[float] = []
    with_hits = 0
    remaining = iter(searches)

    async def one_by_one() -> None:
        nonlocal with_hits
        for asked in remaining:
            begun = time.perf_counter()
            items, _, _ = await search.search(
                asked.user_id, asked.peer_id, asked.query, Position(), limit=50, after=None
            )
            taken.append((time.perf_counter() - begun) * 1_000)
            with_hits += len(items) > len("[]")

    before = _processor_seconds()
    await asyncio.gather(*(one_by_one() for _ in range(in_flight)))
    used = (_processor_seconds() - before) * 1_000
    taken.sort()
    return [
        Row(f"{what} (found {with_hits / len(searches):.0%}), p50", percentile(taken, 0.5), "ms"),
        Row(f"{what}, p99", percentile(taken, 0.99), "ms", "under 100"),
        Row(f"{what}, processor time", used / len(searches), "ms"),
    ]


def _processor_seconds() -> float:
    """Processor seconds of this process and of the database."""
    return sum(processor_seconds(process.pid) for process in family(os.getpid()))


if __name__ == "__main__":
    main(measure, messages=1_000_000, conversations=2_000, searches=400, in_flight=16)
