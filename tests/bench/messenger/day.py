"""The busiest day of a recorded history, as quickly as the system lets it happen: who wrote to whom, in which order.

Around each message its people do what people do: the sender looks at the conversations and into this one, writes; the
recipient reads it and has seen it. What the two do in one conversation keeps its order; conversations go on side by
side.
"""

import asyncio
import gzip
import time
from collections import Counter, defaultdict, deque
from datetime import UTC, datetime

import msgspec

from contracts.values.ids import new_id, pair_id
from tests.bench.events import HISTORY
from tests.bench.messenger import gauges
from tests.bench.messenger.driving import Outcome, outcome
from tests.bench.messenger.sending import NewMessage
from tests.bench.messenger.wire import Connection, request
from tests.bench.messenger.world import Person, World, someone

IN_FLIGHT = 32
_ENCODER = msgspec.json.Encoder()
_EMPTY = b""


class _Line(msgspec.Struct, frozen=True):
    sender: str
    recipient: str
    text: str


class _Sequence(msgspec.Struct):
    sequence: int


_SENT = msgspec.json.Decoder(_Sequence)


def is_at_hand() -> bool:
    return HISTORY.exists()


async def busiest_day(world: World, *, most: int) -> list[Outcome]:
    """Returns the results by kind of request, and of all together. `most`: maximum messages of the day."""
    lines = _lines()[:most]
    names = sorted({name for line in lines for name in (line.sender, line.recipient)})
    seeded = someone(await world.seeder.people(f"day{name}" for name in names))
    people = dict(zip(names, seeded, strict=True))
    pairs = {pair_id(people[line.sender].user_id, people[line.recipient].user_id): line for line in lines}
    await world.seeder.befriend(
        [(people[line.sender].user_id, people[line.recipient].user_id) for line in pairs.values()]
    )
    await world.seeder.reactions_done(120)
    await world.caught_up()
    await world.let_in(seeded)
    by_conversation: defaultdict[frozenset[str], deque[_Line]] = defaultdict(deque)
    for line in lines:
        by_conversation[frozenset((line.sender, line.recipient))].append(line)
    waiting = deque(by_conversation.values())
    taken: defaultdict[str, list[float]] = defaultdict(list)
    errors: Counter[str] = Counter()
    connections = [await Connection.open(world.system.url) for _ in range(IN_FLIGHT)]

    async def ask(connection: Connection, kind: str, good: int, wanted: bytes) -> bytes:
        begin = time.perf_counter()
        status, answer = await connection.ask(wanted)
        if status != good:
            errors[kind] += 1
            return _EMPTY
        taken[kind].append((time.perf_counter() - begin) * 1_000)
        return answer

    async def visit(connection: Connection, line: _Line) -> None:
        url = world.system.url
        sender, recipient = people[line.sender], people[line.recipient]
        await ask(connection, "list", 200, request("GET", url, "/v1/conversations", sender.token))
        await ask(connection, "read", 200, request("GET", url, _messages(recipient), sender.token))
        body = _ENCODER.encode(NewMessage(line.text, new_id()))
        sent = await ask(connection, "send", 201, request("POST", url, _messages(recipient), sender.token, body))
        await ask(connection, "read", 200, request("GET", url, _messages(sender), recipient.token))
        if sent:
            seen = _ENCODER.encode({"sequence": _SENT.decode(sent).sequence})
            path = f"/v1/conversations/{sender.user_id}/seen"
            await ask(connection, "seen", 204, request("PUT", url, path, recipient.token, seen))

    async def work(connection: Connection) -> None:
        while waiting:
            conversation = waiting.popleft()
            await visit(connection, conversation.popleft())
            if conversation:
                waiting.append(conversation)

    before, begin = gauges.costs(world.system), time.perf_counter()
    try:
        await asyncio.gather(*map(work, connections))
    finally:
        for connection in connections:
            connection.close()
    elapsed, cpu = time.perf_counter() - begin, gauges.costs(world.system).since(before)
    total = [milliseconds for times in taken.values() for milliseconds in times]
    outcomes = [outcome("day", IN_FLIGHT, total, elapsed, cpu, errors.total())]
    outcomes += [
        outcome(f"day: {kind}", IN_FLIGHT, taken[kind], elapsed, {}, errors[kind])
        for kind in ("send", "read", "list", "seen")
    ]
    return outcomes


def _messages(other: Person) -> str:
    return f"/v1/conversations/{other.user_id}/messages"


def _lines() -> list[_Line]:
    """The lines of the day with the most messages."""
    days: defaultdict[str, list[_Line]] = defaultdict(list)
    with gzip.open(HISTORY, "rt", encoding="utf-8") as rows:
        next(rows)
        for row in rows:
            sender, recipient, moment, text = row.rstrip("\n").split("\t", 3)
            day = datetime.fromtimestamp(int(moment), UTC).date().isoformat()
            if sender != recipient and text:
                days[day].append(_Line(sender, recipient, text[:4000]))
    return max(days.values(), key=len)
