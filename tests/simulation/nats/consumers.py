"""The pull consumers of the simulated server: deliveries in order, heartbeats, and the ends of pull requests."""

import asyncio
from collections import deque
from typing import Any

from tests.simulation.nats.leadership import Leadership
from tests.simulation.nats.outlet import Outlet
from tests.simulation.nats.store import Stored, Stream
from tests.simulation.network import Network

# Seconds between two checks of idle pull requests.
_TICK = 0.2


class Pull:
    def __init__(self, reply: str, batch: int, expires: float) -> None:
        self.reply = reply
        self.left = batch
        self.expires = expires


class Consumer:
    def __init__(self, name: str, stream: Stream, subject: str | None, begin: int) -> None:
        self.name = name
        self.stream = stream
        self.subject = subject or ">"
        # Filtered ones are not skipped by a fault: no reader could notice.
        self.is_whole = subject is None
        self.scanned = begin - 1
        self.delivered = 0
        self.pulls: deque[Pull] = deque()

    def pending(self) -> int:
        return sum(1 for _ in self.stream.matching(self.subject, self.scanned))


class Consumers:
    def __init__(self, network: Network, outlet: Outlet, leadership: Leadership) -> None:
        self._loop = network.loop
        self._rng = network.rng
        self._outlet = outlet
        self._leadership = leadership
        self._consumers: dict[str, Consumer] = {}
        # The shares of messages that a consumer of a whole stream passes over, and that are lost on the way.
        self.skipped = self.dropped = 0.0

    def clear(self) -> None:
        self._consumers.clear()

    def lose_some(self) -> None:
        """Removes some consumers without notice."""
        for name in [name for name in self._consumers if self._rng.random() < 0.5]:
            del self._consumers[name]

    def create(self, stream: Stream, config: dict[str, Any]) -> dict[str, Any]:
        name = config["name"]
        consumer = Consumer(name, stream, config.get("filter_subject"), config["opt_start_seq"])
        self._consumers[name] = consumer
        return {"name": name, "num_pending": consumer.pending()}

    def delete(self, name: str) -> None:
        self._consumers.pop(name, None)

    def pull(self, name: str, request: dict[str, Any], reply: str) -> None:
        consumer = self._consumers.get(name)
        if consumer is None:
            self._outlet.status(reply, "503")
            return
        consumer.pulls.append(Pull(reply, request["batch"], self._loop.now + request["expires"] / 1e9))
        self._serve(consumer)

    def stored(self, stream: Stream) -> None:
        """Serves the consumers of a stream that has a new message."""
        for consumer in self._consumers.values():
            if consumer.stream is stream:
                self._serve(consumer)

    async def tick(self) -> None:
        """Heartbeats of idle pull requests, and their ends."""
        while True:
            await asyncio.sleep(_TICK)
            for consumer in list(self._consumers.values()):
                self._serve(consumer)
                while consumer.pulls and consumer.pulls[0].expires <= self._loop.now:
                    pull = consumer.pulls.popleft()
                    self._outlet.status(
                        pull.reply,
                        "408 Request Timeout",
                        {"Nats-Pending-Messages": str(pull.left), "Nats-Pending-Bytes": "0"},
                    )
                if consumer.pulls:
                    heartbeat = {
                        "Nats-Last-Consumer": str(consumer.delivered),
                        "Nats-Last-Stream": str(consumer.scanned),
                    }
                    self._outlet.status(consumer.pulls[0].reply, "100 Idle Heartbeat", heartbeat)

    def _serve(self, consumer: Consumer) -> None:
        if self._leadership.is_vacant() or not consumer.pulls or consumer.scanned >= consumer.stream.end:
            return
        waiting = list(consumer.stream.matching(consumer.subject, consumer.scanned))
        for number, message in enumerate(waiting, 1):
            if not consumer.pulls:
                return
            consumer.scanned = message.sequence
            if consumer.is_whole and self._rng.random() < self.skipped:
                continue
            self._deliver(consumer, message, len(waiting) - number)
        consumer.scanned = consumer.stream.end

    def _deliver(self, consumer: Consumer, message: Stored, pending: int) -> None:
        pull = consumer.pulls[0]
        consumer.delivered += 1
        delivery = consumer.delivered
        reply = (
            f"$JS.ACK.{consumer.stream.name}.{consumer.name}.1.{message.sequence}.{delivery}.{message.at_ns}.{pending}"
        )
        if self._rng.random() >= self.dropped:
            self._outlet.send(pull.reply, message.subject, reply, message.block, message.data)
        pull.left -= 1
        if pull.left == 0:
            consumer.pulls.popleft()
