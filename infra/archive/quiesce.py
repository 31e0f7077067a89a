"""Waits until no service works on the streams any more, and until they do again.

Each stops by itself when it sees that an import begins, and goes on when it has ended.
"""

import asyncio
from collections.abc import Callable

import aiohttp
import msgspec
from nats.aio.client import Client

from contracts.durable_consumers import DURABLES
from contracts.errors import Unavailable
from contracts.subjects import STREAMS
from infra.archive.stream_access import Store
from infra.operator_errors import OperatorError
from infra.runtime.import_marker import EVERY
from infra.settings import SERVICES
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed

# Seconds that a service may take to end, or a server to forget the consumers of one that was killed.
_PATIENCE = 90.0
# For so many seconds nobody must be seen: a replica that only stands by has no consumer, but looks at the mark.
_QUIET = 2 * EVERY
_LOOK = 0.25
_NEVER_MADE = 10014
# For a service to start, and for one answer of the gateway.
_BACK, _ANSWER = 60.0, 5.0


class ServicesAtWork(OperatorError):
    """A service goes on in spite of the import."""

    def __init__(self, names: set[str]) -> None:
        who = ", ".join(sorted(names))
        super().__init__(f"still at work on the streams: {who}; stop all services, and import again")


class _Names(msgspec.Struct, frozen=True):
    consumers: list[str] | None = None
    total: int = 0


class _Consumer(msgspec.Struct, frozen=True):
    num_waiting: int = 0


_NAMES = msgspec.json.Decoder(_Names)
_CONSUMER = msgspec.json.Decoder(_Consumer)


async def wait_until_idle(nc: Client, store: Store, say: Callable[[str], None]) -> None:
    """Returns when no service is seen at work; at once where nobody else can be there.

    Raises:
        ServicesAtWork: one is, after all patience.
    """
    if store.alone:
        return
    jetstream = JetStream(nc)
    loop = asyncio.get_running_loop()
    seen_at = loop.time()
    deadline = seen_at + _PATIENCE
    said = False
    while loop.time() < seen_at + _QUIET:
        try:
            working = await active_services(jetstream)
        except RequestFailed as failure:
            raise Unavailable from failure
        if working:
            seen_at = loop.time()
            if seen_at > deadline:
                raise ServicesAtWork(working)
            if not said:
                say(f"waiting for {', '.join(sorted(working))} to stop; they start again by themselves")
                said = True
        await asyncio.sleep(_LOOK)


async def wait_until_ready(gateway_url: str) -> bool:
    """Waits until the gateway says that every part is ready; whether it did."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER)
    deadline = asyncio.get_running_loop().time() + _BACK
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while asyncio.get_running_loop().time() < deadline:
            try:
                async with session.get(f"{gateway_url}/readyz") as answer:
                    if answer.ok:
                        return True
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(_LOOK)
    return False


async def active_services(jetstream: JetStream) -> set[str]:
    """The services that have a consumer, or ask theirs for more."""
    working: set[str] = set()
    durables = {(durable.stream, durable.name) for durable in DURABLES}
    for stream in STREAMS:
        for name in await _consumers(jetstream, stream):
            owner = name.partition("-")[0]
            if owner in SERVICES and (stream, name) not in durables:
                working.add(owner)
    for durable in DURABLES:
        try:
            found = await jetstream.ask(f"CONSUMER.INFO.{durable.stream}.{durable.name}", None, _CONSUMER)
        except Refused as refused:
            if refused.error.err_code == _NEVER_MADE:
                continue
            raise
        if found.num_waiting:
            working.add(durable.service)
    return working


async def _consumers(jetstream: JetStream, stream: str) -> list[str]:
    names: list[str] = []
    while True:
        page = await jetstream.ask(f"CONSUMER.NAMES.{stream}", {"offset": len(names)}, _NAMES)
        names += page.consumers or []
        if not page.consumers or len(names) >= page.total:
            return names
