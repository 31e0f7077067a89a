"""A network in memory between simulated hosts: ordered connections with latency, which can be slow, cut or silent."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.virtual_loop import VirtualLoop

Factory = Callable[[], Any]
# Seconds: the usual latency of a piece of data, and that of a slow one, at most.
_LATENCY, _SLOW = 0.002, 0.5
# The share of pieces that are slow.
_SLOW_SHARE = 0.02
# Seconds between two pieces of data that arrive one after the other.
_STEP = 1e-6
# Seconds until both ends notice a cut, at most.
_NOTICED = 1.0


class Network:
    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self._listening: dict[tuple[str, int], Factory] = {}
        self._open: list[Transport] = []
        # Until when nothing goes from or to a host.
        self._silent_until: dict[str, float] = {}
        loop.connector, loop.listener = self._connect, self.listen

    def listen(self, host: str, port: int, factory: Factory) -> None:
        self._listening[host, port] = factory

    def close(self, host: str, port: int) -> None:
        """Refuses new connections; those that are open stay."""
        self._listening.pop((host, port), None)

    def cut(self, host: str) -> None:
        """Cuts every connection to the host: of the data on its way a part arrives, and both ends notice later."""
        for transport in [connection for connection in self._open if host in connection.hosts]:
            transport.cut()

    def silence(self, host: str, seconds: float) -> None:
        """Holds back all data from and to the host for some time, also of new connections, without an error."""
        until = self._silent_until[host] = self.loop.now + seconds
        for transport in self._open:
            if host in transport.hosts:
                transport.hold(until)

    def latency(self, rng: random.Random | None = None) -> float:
        rng = rng or self.rng
        return rng.random() * (_SLOW if rng.random() < _SLOW_SHARE else _LATENCY)

    def noticed(self) -> float:
        return self.rng.random() * _NOTICED

    def dropped(self, transport: "Transport") -> None:
        self._open.remove(transport)

    async def _connect(self, factory: Factory, host: str, port: int) -> tuple["Transport", Any]:
        await asyncio.sleep(max(0.0, self._silent_until.get(host, 0.0) - self.loop.now) + self.latency())
        serve = self._listening.get((host, port))
        if serve is None:
            raise ConnectionRefusedError(f"{host}:{port}")
        client, server = factory(), serve()
        near, far = Transport(self, client, host), Transport(self, server, host)
        near.peer, far.peer = far, near
        self._open += [near, far]
        server.connection_made(far)
        client.connection_made(near)
        return near, client


class Transport(asyncio.Transport):
    """One end of a connection."""

    peer: "Transport"

    def __init__(self, network: Network, protocol: Any, host: str) -> None:  # noqa: ANN401 - of any library
        super().__init__()
        self.hosts = (host,)
        self._network = network
        # Its own, so that a run repeats although code wakes the owners of several connections in any order.
        self._rng = random.Random(network.rng.random())
        self._loop = network.loop
        self._protocol = protocol
        # Timers of the data on its way to the peer.
        self._under_way: deque[asyncio.TimerHandle] = deque()
        self._arrives = 0.0
        self._held_until = 0.0
        self._closing = False
        self._lost = False
        self._paused = False
        self._unread: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and data:
            self._after_latency(self.peer._receive, bytes(data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._after_latency(self.peer._end)
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self.close()

    def cut(self) -> None:
        if self._closing:
            return
        self._closing = True
        arrived = self._network.rng.randint(0, len(self._under_way))
        for timer in list(self._under_way)[arrived:]:
            timer.cancel()
        self._loop.call_later(self._network.noticed(), self._lose, ConnectionResetError("the connection was cut"))

    def hold(self, until: float) -> None:
        self._held_until = until

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:  # noqa: ANN401 - of any library
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as the library's
        return ("10.0.0.1", 1) if name in ("peername", "sockname") else default

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        unread, self._unread = self._unread, []
        for data in unread:
            self._receive(data)

    def _after_latency(self, act: Callable[..., None], *arguments: object) -> None:
        # In order, and not before the end of a silence. Timers of the same moment would have no order.
        self._arrives = max(self._arrives + _STEP, self._held_until, self._loop.now + self._network.latency(self._rng))
        while self._under_way and self._under_way[0].when() < self._loop.now:
            self._under_way.popleft()
        self._under_way.append(self._loop.call_at(self._arrives, act, *arguments))

    def _receive(self, data: bytes) -> None:
        if self._lost:
            return
        if self._paused:
            self._unread.append(data)
        else:
            self._protocol.data_received(data)

    def _end(self) -> None:
        """The peer has closed the connection."""
        if not self._lost:
            self._protocol.eof_received()
            self._closing = True
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._network.dropped(self)
            self._protocol.connection_lost(error)
