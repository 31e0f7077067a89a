"""Send scenarios over HTTP and WebSockets; live streams of both members check for loss, duplicates and order."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from contracts.values.ids import new_id
from tests.bench.events import texts
from tests.bench.messenger.driving import Ask, Outcome, drive, drive_all
from tests.bench.messenger.receivers import Receivers
from tests.bench.messenger.websockets import WebSocket
from tests.bench.messenger.wire import request
from tests.bench.messenger.world import Person, World
from tests.bench.report import percentile


class NewMessage(msgspec.Struct):
    text: str
    client_message_id: str


class _Command(msgspec.Struct):
    id: str
    command: str
    user_id: str
    body: NewMessage


_ENCODER = msgspec.json.Encoder()
# Counts the messages of all scenarios, so that each is recognised when it arrives.
_NUMBERS = itertools.count()
_WEBSOCKETS, _ON_EACH = 16, 4

Pairs = Sequence[tuple[Person, Person]]


async def send(
    world: World, *, in_flight: int, seconds: float, name: str = "", pairs: Pairs = (), warm_up: float = 1.0
) -> Outcome:
    """Messages between the pairs over HTTP; all of the world's pairs, if none are given."""
    among = pairs or world.pairs

    async def load(make: "_Messages", accepted: set[int]) -> Outcome:
        def asked(turn: int) -> tuple[bytes, int]:
            one, other, number, body = make(turn)
            path = f"/v1/conversations/{other.user_id}/messages"
            return request("POST", world.system.url, path, one.token, _ENCODER.encode(body)), number

        return await drive(
            world,
            name or f"send-{in_flight}",
            asked,
            in_flight=in_flight,
            seconds=seconds,
            warm_up=warm_up,
            accepted=accepted,
            good=201,
        )

    return await _checked(world, among, load)


async def send_over_websockets(world: World, *, seconds: float) -> Outcome:
    """Opens the given number of connections, each of one user who sends to a friend with four messages in flight."""
    pairs = world.pairs[:_WEBSOCKETS]
    sockets = [await WebSocket.open(world.system.url, one.token) for one, _ in pairs]

    async def load(make: "_Messages", accepted: set[int]) -> Outcome:
        # A worker takes the turns of one connection, in whose name alone it may write.
        def asking(index: int) -> Ask:
            async def ask(_: bytes) -> int:
                _one, other, number, body = make(2 * len(pairs) * next(rounds) + index)
                command = _Command(body.client_message_id, "send", other.user_id, body)
                status = await sockets[index].ask(command.id, _ENCODER.encode(command))
                if status == 201:
                    accepted.add(number)
                return status

            rounds = itertools.count()
            return ask

        workers = [asking(index) for index in range(len(pairs)) for _ in range(_ON_EACH)]
        return await drive_all(world, "ws-send", lambda turn: (b"", turn), workers, seconds=seconds, good=201)

    try:
        return await _checked(world, pairs, load)
    finally:
        for socket in sockets:
            socket.close()


class _Messages:
    """The next message of a turn: who writes to whom, its number, and what."""

    def __init__(self, pairs: Pairs, began: dict[int, float]) -> None:
        self._pairs, self._began, self._lines = pairs, began, texts()

    def __call__(self, turn: int) -> tuple[Person, Person, int, NewMessage]:
        number = next(_NUMBERS)
        one, other = self._pairs[turn % len(self._pairs)][:: 1 if turn // len(self._pairs) % 2 == 0 else -1]
        text = f"{number} {self._lines[number % len(self._lines)]}"
        self._began[number] = time.perf_counter()
        return one, other, number, NewMessage(text[:4000], new_id())


async def _checked(world: World, pairs: Pairs, load: Callable[[_Messages, set[int]], Awaitable[Outcome]]) -> Outcome:
    """The load while all of the pairs listen; every accepted message came to both, once, in order."""
    receivers = Receivers()
    await receivers.listen(world.system.url, [person for pair in pairs for person in pair])
    began: dict[int, float] = {}
    accepted: set[int] = set()
    try:
        outcome = await load(_Messages(pairs, began), accepted)
        async with asyncio.timeout(60):
            while any(len(receivers.arrived.get(number, ())) < 2 for number in accepted):
                await asyncio.sleep(0.05)
    finally:
        receivers.close()
    for number in accepted:
        assert len(receivers.arrived[number]) == 2, f"message {number} came {len(receivers.arrived[number])} times"
    for stream, sequences in receivers.sequences.items():
        first = sequences[0]
        assert sequences == list(range(first, first + len(sequences))), f"{stream}: out of order, or a gap"
    delays = sorted((max(receivers.arrived[number]) - began[number]) * 1_000 for number in accepted)
    if not delays:
        return outcome
    return msgspec.structs.replace(
        outcome,
        delivered=len(delays),
        delivery_p50=round(percentile(delays, 0.5), 2),
        delivery_p99=round(percentile(delays, 0.99), 2),
    )
