"""Clients of the live events that resume, after the end of each connection, at the gateway whose turn it is."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests import sse_client
from tests.upgrade.gateways import Gateways
from tests.upgrade.people import Person

Json = dict[str, Any]
_CONNECTED_WITHIN = 60.0
_POLL = 0.05


class Follower(ABC):
    """One client: the messages that were delivered to it, in order, each as often as it was."""

    def __init__(self, gateways: Gateways, person: Person) -> None:
        self._gateways = gateways
        self.person = person
        self.position = ""
        self.connections = 0
        self.messages: list[Json] = []

    async def run(self) -> None:
        """Follows until it is cancelled."""
        while True:
            url = self._gateways.next()
            try:
                await self._follow(url)
            except ConnectionRefusedError:
                await asyncio.sleep(_POLL)
            except (OSError, EOFError, TimeoutError, ConnectionClosed, sse_client.Refused) as error:
                self._gateways.failed(f"{self.person.name} follows {url} from {self.position!r}: {error!r}")
                await asyncio.sleep(1)

    @abstractmethod
    async def _follow(self, url: str) -> None:
        """Follows over one connection until its end; an error before it is open is raised."""

    def _take(self, kind: str, data: Json) -> None:
        if kind == "message.sent":
            self.messages.append(data)


class SseFollower(Follower):
    async def _follow(self, url: str) -> None:
        async with asyncio.timeout(_CONNECTED_WITHIN):
            stream = await sse_client.connect(url, self.person.access_token, last_event_id=self.position)
        self.connections += 1
        try:
            while True:
                for event in stream.events:
                    self._take(event.type, event.data)
                stream.events.clear()
                self.position = stream.id
                try:
                    if not await stream.read():
                        return
                except (OSError, EOFError):
                    return
        finally:
            stream.close()


class WebSocketFollower(Follower):
    async def _follow(self, url: str) -> None:
        address = url.replace("http", "ws", 1) + "/v1/ws" + (f"?since={self.position}" if self.position else "")
        protocols = [Subprotocol("vestnik.v1"), Subprotocol(f"bearer.{self.person.access_token}")]
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(
                connect_websocket(address, subprotocols=protocols, proxy=None, open_timeout=_CONNECTED_WITHIN)
            )
            self._read(await connection.recv())
            self.connections += 1
            try:
                async for frame in connection:
                    self._read(frame)
            except ConnectionClosed:
                return

    def _read(self, frame: str | bytes) -> None:
        event: Json = msgspec.json.decode(frame)
        self.position = event.get("id", self.position)
        self._take(event["event"], event["data"])


@asynccontextmanager
async def following(followers: Sequence[Follower]) -> AsyncIterator[None]:
    """Runs the followers until the context is left, in which each has a first connection."""
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    try:
        async with asyncio.timeout(_CONNECTED_WITHIN):
            while not all(follower.connections for follower in followers):
                await asyncio.sleep(_POLL)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
