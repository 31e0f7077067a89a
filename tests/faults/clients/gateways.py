"""What the clients of an activity share: the addresses to ask, in turn, their connections, and the record."""

import itertools
import ssl
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import httpx
import msgspec

from tests.faults.recording import Recorder

# Without that package httpx searches the disk for it at each request.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # as the import system allows
_PATIENCE = httpx.Timeout(30.0)
_CONNECTIONS = httpx.Limits(max_connections=500, max_keepalive_connections=500)


class Target(msgspec.Struct, frozen=True):
    """A gateway, or the proxy before all of them.

    The clients speak HTTP/1.1: of several requests on one HTTP/2 connection, httpx passes an answer on only when other
    ones have arrived, which is a minute later where a fault keeps those back.
    """

    url: str
    # Makes a context for one client, since each sets the protocols in its own.
    tls: Callable[[], ssl.SSLContext] | None = None

    @property
    def live_url(self) -> str:
        return f"{self.url.replace('http', 'ws', 1)}/v1/ws"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            verify=True if self.tls is None else self.tls(),
            timeout=_PATIENCE,
            limits=_CONNECTIONS,
        )


class Gateways:
    def __init__(self, targets: Sequence[Target], recorder: Recorder, visitors: Recorder | None = None) -> None:
        """`visitors`: the record of requests without a session, the same one by default."""
        self.recorder = recorder
        self.visitors = visitors or recorder
        self._targets = targets
        self._clients = [(target, target.client()) for target in targets]
        self._turns = itertools.cycle(self._clients)
        self._live_tls = [None if target.tls is None else target.tls() for target in targets]
        self._parts: list[Gateways] = []

    def part(self, name: str) -> "Gateways":
        """The same gateways for another activity, with connections and a record of its own."""
        self._parts.append(Gateways(self._targets, self.recorder.part(name), self.visitors))
        return self._parts[-1]

    def live_tls(self, target: Target) -> ssl.SSLContext | None:
        """The TLS context of WebSockets; shared, since their library does not change it."""
        return self._live_tls[self._targets.index(target)]

    def next(self) -> tuple[Target, httpx.AsyncClient]:
        return next(self._turns)

    async def close(self) -> None:
        for part in self._parts:
            await part.close()
        for _, client in self._clients:
            await client.aclose()
