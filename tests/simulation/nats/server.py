"""A simulated NATS server with JetStream: the part of both protocols that `streams` uses, with faults on request.

It stores like one server with `sync_interval: always`, or like the leader of a replicated stream (`replicated`): an
append is applied some time after it arrives, in order, and acknowledged after that. What a crash or a change of leader
finds not yet applied is applied late or never.
"""

import asyncio

from tests.simulation.nats.api import Api
from tests.simulation.nats.appends import Appends
from tests.simulation.nats.consumers import Consumers
from tests.simulation.nats.leadership import Leadership
from tests.simulation.nats.outlet import Outlet
from tests.simulation.nats.protocol import Connection
from tests.simulation.nats.store import Headers, Stream
from tests.simulation.network import Network

HOST, PORT = "nats", 4222
_API = "$JS.API."


class NatsServer:
    def __init__(self, network: Network, streams: dict[str, str], *, replicated: bool) -> None:
        """`streams`: the prefix of the subjects of each stream."""
        self._network = network
        self._loop = network.loop
        self.streams = {name: Stream(name, prefix) for name, prefix in streams.items()}
        self._leadership = Leadership(network.loop, 3 if replicated else 1)
        self._outlet = Outlet(network)
        self._consumers = Consumers(network, self._outlet, self._leadership)
        self._appends = Appends(network, self._outlet, self._leadership, self._consumers)
        self._api = Api(network, self._outlet, self._leadership, self.streams, self._consumers)
        self._ticking: asyncio.Task[None] | None = None
        self.running = False
        self.start()

    def start(self) -> None:
        self.running = True
        self._network.listen(HOST, PORT, lambda: Connection(self))
        self._ticking = self._loop.create_task(self._consumers.tick())

    def crash(self) -> None:
        """Stops immediately; of the appends that were not applied yet, the first few are still applied."""
        self.running = False
        self._network.close(HOST, PORT)
        if self._ticking is not None:
            self._ticking.cancel()
        self._appends.interrupt(longest_delay=0.0)
        self._consumers.clear()
        self._network.cut(HOST)

    def step_down(self, seconds: float) -> None:
        """The streams have no leader for some time; the new one may apply what the old one had accepted, or not."""
        self._leadership.step_down(seconds)
        self._appends.interrupt(longest_delay=seconds)
        self._consumers.lose_some()

    def delay(self, seconds: float) -> None:
        """Appends that arrive from now on are applied only later, in order: a disk that is stuck."""
        self._appends.delay(seconds)

    def damage(self, *, skipped: float, dropped: float) -> None:
        """Sets the share of messages that consumers of whole streams pass over, as on a replica with a damaged block,
        and of those that are lost between two servers."""
        self._consumers.skipped, self._consumers.dropped = skipped, dropped

    def store(self, stream: str, subject: str, data: bytes, headers: Headers) -> int:
        """Stores a message, as another process appends it; returns its sequence."""
        return self._appends.store(self.streams[stream], subject, data, headers)

    def lose(self, stream: str, sequence: int) -> None:
        """The message can no longer be read; its sequence stays empty."""
        self.streams[stream].lost.add(sequence)

    def connected(self, connection: Connection) -> None:
        self._outlet.add(connection)

    def disconnected(self, connection: Connection) -> None:
        self._outlet.remove(connection)

    def publish(self, subject: str, reply: str, headers: Headers, data: bytes) -> None:
        if subject.startswith(_API):
            self._api.call(subject.removeprefix(_API), reply, data)
            return
        for stream in self.streams.values():
            if subject.startswith(stream.prefix):
                self._appends.accept(stream, subject, reply, headers, data)
                return
        self._outlet.send(subject, subject, reply, b"", data)
