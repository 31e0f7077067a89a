"""A client of two gateways, as a load balancer is one: it uses those in rotation, in turn.

A gateway leaves the rotation with the first answer that closes its connection, and comes back when it is ready. A
connection that is refused costs nothing, since nothing was sent: the next gateway gets the request. Everything else
that is not the expected answer is a failed request: any other status, a lost connection, no answer in time. No request
is repeated.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import httpx

_ANSWER_WITHIN = 60.0
_POLL = 0.02


class Failed(Exception):
    """A request was not answered as expected; it is in `Gateways.failures`."""


class Gateways:
    def __init__(self, urls: Sequence[str]) -> None:
        self.rotation = list(urls)
        self.failures: list[str] = []
        self.answers = 0
        self.slowest = 0.0
        self._turns = count()
        self._stopping = asyncio.Event()
        self._http = httpx.AsyncClient(timeout=_ANSWER_WITHIN, limits=httpx.Limits(max_connections=200))

    async def close(self) -> None:
        await self._http.aclose()

    async def go_on(self, pause: float) -> bool:
        """Waits for `pause` seconds; returns False, at once, when the traffic has to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stopping.wait()
        return not self._stopping.is_set()

    def stop(self) -> None:
        self._stopping.set()

    def next(self) -> str:
        """The URL of the gateway whose turn it is."""
        return self.rotation[next(self._turns) % len(self.rotation)]

    def put_back(self, url: str) -> None:
        self._leave(url)
        self.rotation.append(url)

    def _leave(self, url: str) -> None:
        self.rotation = [other for other in self.rotation if other != url]

    async def request(self, method: str, path: str, expected: int, **options: Any) -> httpx.Response:  # noqa: ANN401
        """
        Raises:
            Failed: the answer is not the expected one.
        """
        began = time.monotonic()
        while True:
            url = self.next()
            try:
                response = await self._http.request(method, url + path, **options)
            except httpx.ConnectError:
                await asyncio.sleep(_POLL)
                continue
            except httpx.HTTPError as error:
                raise self.failed(f"{method} {url}{path}: {error!r}") from error
            if response.headers.get("Connection") == "close":
                self._leave(url)
            if response.status_code != expected:
                seconds = time.monotonic() - began
                raise self.failed(
                    f"{method} {url}{path}: {response.status_code} after {seconds:.1f} s: {response.text}"
                )
            self.answers += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            return response

    def failed(self, what: str) -> Failed:
        self.failures.append(f"{time.strftime('%H:%M:%S')} {what}")
        return Failed(what)
