"""Waits until no service uses the streams, and until the services are ready again.

Each service stops by itself when it sees that an import has begun, and starts again when the import has ended.
"""

import asyncio
from collections.abc import Callable

import msgspec
from nats.aio.client import Client

from contracts.durable_consumers import DURABLES
from contracts.errors import Unavailable
from contracts.services import NOTARY, OPERATOR, SERVICES
from contracts.subjects import STREAMS
from infra.archive.stream_access import Store
from infra.operator_errors import OperatorError
from infra.runtime.import_marker import EVERY
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed

# Seconds for a service to stop, or for the server to drop the consumers of a killed one.
_PATIENCE = 90.0
# Seconds during which no service may be seen. A standby replica has no consumer, but polls the marker.
_QUIET = 2 * EVERY
_CHECK_SECONDS = 0.25
_NEVER_MADE = 10014
# Seconds for the services to start, and for one response of the gateway.
_BACK, _ANSWER = 60.0, 5.0


class ServicesAtWork(OperatorError):
    """A service keeps working in spite of the import."""

    def __init__(self, names: set[str]) -> None:
        who = ", ".join(sorted(names))
        super().__init__(f"still using the streams: {who}; stop all services, and import again")


class _Names(msgspec.Struct, frozen=True):
    consumers: list[str] | None = None
    total: int = 0


class _Consumer(msgspec.Struct, frozen=True):
    num_waiting: int = 0


_NAMES = msgspec.json.Decoder(_Names)
_CONSUMER = msgspec.json.Decoder(_Consumer)


async def wait_until_idle(nc: Client, store: Store, say: Callable[[str], None]) -> None:
    """Returns when no service has been seen at work for a while; immediately if the store has no other users.

    Raises:
        ServicesAtWork: a service is still at work at the deadline.
    """
    if store.alone:
        return
    jetstream = JetStream(nc)
    loop = asyncio.get_running_loop()
    seen_at = loop.time()
    deadline = seen_at + _PATIENCE
    logged = False
    while loop.time() < seen_at + _QUIET:
        try:
            working = await active_services(jetstream)
        except RequestFailed as failure:
            raise Unavailable from failure
        if working:
            seen_at = loop.time()
            if seen_at > deadline:
                raise ServicesAtWork(working)
            if not logged:
                say(f"waiting for {', '.join(sorted(working))} to stop; they restart by themselves")
                logged = True
        await asyncio.sleep(_CHECK_SECONDS)


async def wait_until_ready(gateway_url: str) -> bool:
    """Waits until the gateway reports that every part is ready; returns whether it did in time."""
    import aiohttp  # only here, so that commands start quickly

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
            await asyncio.sleep(_CHECK_SECONDS)
    return False


async def active_services(jetstream: JetStream) -> set[str]:
    """The services that have a consumer besides the durable ones, or a pull request waiting on a durable one."""
    working: set[str] = set()
    durables = {(durable.stream, durable.name) for durable in DURABLES}
    for stream in STREAMS:
        for name in await _consumers(jetstream, stream):
            owner = name.partition("-")[0]
            if owner in (*SERVICES, NOTARY) and (stream, name) not in durables and not _is_command(name):
                working.add(owner)
    for durable in DURABLES:
        try:
            info = await jetstream.ask(f"CONSUMER.INFO.{durable.stream}.{durable.name}", None, _CONSUMER)
        except Refused as refused:
            if refused.error.err_code == _NEVER_MADE:
                continue
            raise
        if info.num_waiting:
            working.add(durable.service)
    return working


def _is_command(name: str) -> bool:
    """Whether the consumer is that of an operator's command or page, which reads and keeps nothing."""
    return name.startswith(f"{OPERATOR}-") and not name.startswith(f"{OPERATOR}-projection")


async def _consumers(jetstream: JetStream, stream: str) -> list[str]:
    names: list[str] = []
    while True:
        page = await jetstream.ask(f"CONSUMER.NAMES.{stream}", {"offset": len(names)}, _NAMES)
        names += page.consumers or []
        if not page.consumers or len(names) >= page.total:
            return names
