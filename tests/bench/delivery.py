"""From sending to delivery over server-sent events, everybody connected; then over reconnects and a gateway's death."""

import argparse
import asyncio
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from tests.bench.messenger.wire import Connection
from tests.bench.messenger.world import Person, World, world
from tests.bench.report import Row, main, percentile
from tests.sse_client import Refused, Stream, connect

_SENDERS = 64


class Mailbag:
    """What was sent and what arrived, by the number that each text begins with."""

    def __init__(self) -> None:
        self.sent: dict[int, tuple[float, str, str]] = {}
        # Person -> number -> how often it came.
        self.arrived: defaultdict[str, Counter[int]] = defaultdict(Counter)
        # Message -> milliseconds until its recipient had it.
        self.taken: dict[int, float] = {}
        # Conversation of each person -> the sequences in the order they came in.
        self.order: defaultdict[tuple[str, str], list[int]] = defaultdict(list)

    def take(self, person: str, data: dict[str, object]) -> None:
        number = int(str(data["text"]).partition(" ")[0])
        self.arrived[person][number] += 1
        self.order[person, str(data["conversation_id"])].append(int(str(data["sequence"])))
        if data["sender_id"] != person and number in self.sent:
            self.taken.setdefault(number, (time.perf_counter() - self.sent[number][0]) * 1_000)

    def missing(self) -> int:
        return sum(
            self.arrived[person][number] == 0
            for number, (_, sender, recipient) in self.sent.items()
            for person in (sender, recipient)
        )

    def doubles(self) -> int:
        return sum(times - 1 for counted in self.arrived.values() for times in counted.values())

    def disordered(self) -> int:
        return sum(sequences != sorted(sequences) for sequences in self.order.values())


class Client:
    """One person's stream, taken up again wherever it ended."""

    def __init__(self, url: str, person: Person, bag: Mailbag) -> None:
        self._url = url
        self._person = person
        self._bag = bag
        self._position = ""
        self._stream: Stream | None = None
        self.begun = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                stream = self._stream = await connect(self._url, self._person.token, last_event_id=self._position)
                self._position = stream.id
                self.begun.set()
                while True:
                    self._pass_on(stream)
                    if not await stream.read():
                        break
            except (OSError, EOFError, ValueError, TimeoutError, AssertionError, Refused):
                # What came whole before the line broke has arrived; the place is that of the last event.
                pass
            finally:
                self.drop()
            await asyncio.sleep(0.05)

    def drop(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _pass_on(self, stream: Stream) -> None:
        for event in stream.events:
            if event.type == "message.sent":
                self._bag.take(self._person.user_id, event.data)
        stream.events.clear()
        self._position = stream.id


async def measure(arguments: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), pairs=arguments.pairs, replicas=arguments.replicas) as fresh:
            quiet = await _deliver(fresh, arguments.rate, arguments.seconds)
            await fresh.renew()
            stormy = await _deliver(fresh, arguments.rate // 4 or 1, arguments.seconds, storms=arguments.reconnects)
    # A conversation's first two messages find nothing of it in memory, and 200 of them begin within a second.
    begun = 2 * arguments.pairs
    first = sorted(taken for number, taken in quiet.taken.items() if number < begun)
    taken = sorted(taken for number, taken in quiet.taken.items() if number >= begun)
    return [
        Row("messages sent", len(quiet.sent), "messages"),
        Row("delivered", len(quiet.taken), "messages"),
        Row("send to delivery, p50", percentile(taken, 0.5), "ms", "under 10"),
        Row("send to delivery, p99", percentile(taken, 0.99), "ms", "under 100"),
        Row(f"… of the first {begun}, all conversations new, p50", percentile(first, 0.5), "ms"),
        Row(f"… of the first {begun}, all conversations new, p99", percentile(first, 0.99), "ms"),
        Row("missing", quiet.missing(), "messages", "0"),
        Row("double", quiet.doubles(), "messages", "0"),
        Row("sent over reconnects and a kill", len(stormy.sent), "messages"),
        Row("missing over reconnects and a kill", stormy.missing(), "messages", "0"),
        Row("double over reconnects and a kill", stormy.doubles(), "messages", "0"),
        Row("conversations out of order", quiet.disordered() + stormy.disordered(), "streams", "0"),
    ]


async def _deliver(world: World, rate: int, seconds: int, *, storms: int = 0) -> Mailbag:
    bag = Mailbag()
    clients = [Client(world.system.url, person, bag) for person in world.people]
    listening = [asyncio.create_task(client.run()) for client in clients]
    try:
        async with asyncio.timeout(120):
            await asyncio.gather(*(client.begun.wait() for client in clients))
        sending = asyncio.create_task(_send(world, bag, rate, seconds))
        for number in range(storms):
            await asyncio.sleep(seconds / (storms + 1))
            for client in clients:
                client.drop()
            if number == storms // 2:
                world.system.serving("gateway")[0].kill()
        await sending
        deadline = time.monotonic() + 60
        while bag.missing() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    return bag


async def _send(world: World, bag: Mailbag, rate: int, seconds: int) -> None:
    begin = time.perf_counter()
    numbers = iter(range(rate * seconds))

    async def work() -> None:
        connection: Connection | None = None
        for number in numbers:
            await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
            one, other = world.pairs[number // 2 % len(world.pairs)]
            sender, recipient = (one, other) if number % 2 else (other, one)
            bag.sent[number] = (time.perf_counter(), sender.user_id, recipient.user_id)
            while True:
                try:
                    connection = connection or await Connection.open(world.system.url)
                    async with asyncio.timeout(15):
                        status, _ = await connection.ask(_request(sender, recipient, number))
                    if status in (200, 201):
                        break
                except (OSError, TimeoutError, RuntimeError):  # the last: of uvloop, for a connection that is closed
                    connection = None
                # The same message again: it does nothing twice.
                await asyncio.sleep(0.1)
        if connection is not None:
            connection.close()

    await asyncio.gather(*(work() for _ in range(_SENDERS)))


def _request(sender: Person, recipient: Person, number: int) -> bytes:
    body = msgspec.json.encode(
        {"text": f"{number} is the number", "client_message_id": f"{sender.token[-8:]}-{number}"}
    )
    head = (
        f"POST /v1/conversations/{recipient.user_id}/messages HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {sender.token}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main(measure, pairs=200, rate=500, seconds=20, reconnects=20, replicas=1)
