"""How a process of a service opens the event store at its start: it waits for it, however long it is away.

A process that ended instead would depend on what starts it again, and would come back later the longer it was away.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.subjects import quorum_of
from contracts.values.ids import new_id
from infra.runtime import import_marker
from infra.runtime.connections import connect_nats
from infra.settings import Settings
from streams.jetstream.api import NO_LEADER, Refused
from streams.quorum import Quorum
from streams.topology import Placement, ensure_quorum, ensure_streams

log = logging.getLogger(__name__)
T = TypeVar("T")
# Seconds of one attempt to connect.
_ATTEMPT = 10.0
_PAUSE = 0.5
_LOG_INTERVAL = 30.0


class StopRequested(Exception):
    """The process was stopped before the event store answered."""


async def open_event_store(
    settings: Settings, name: str, stop: asyncio.Event, *, streams: Sequence[str] = ()
) -> tuple[NATS, Quorum | None]:
    """Connects to NATS and prepares the streams; waits while NATS is away, has no quorum, or an import is in progress.

    `streams`: those that the process creates if needed.

    Returns:
        The connection, and for `Quorum.run` to gather evidence with, the quorum; None with a single replica.

    Raises:
        StopRequested: `stop` was set before.
        StreamForbidden: a stream does not exist, and this party may not create it.
        BadSetting, UnreadableUrl, DangerousStream, Refused: as `connect_nats` and `ensure_streams`.
    """
    opening = asyncio.create_task(_open(settings, name, streams))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            raise StopRequested
        return opening.result()
    finally:
        stopping.cancel()
        if opening.cancel():
            await asyncio.gather(opening, return_exceptions=True)


async def quorum_of_process(settings: Settings, nats: NATS, party: str) -> Quorum | None:
    """Creates the quorum stream if needed. None with a single replica.

    Raises:
        StreamForbidden: the stream does not exist, and this party may not create it.
        DangerousStream, Refused, Unavailable: as `ensure_streams`.
    """
    if settings.stream_replicas == 1:
        return None
    placement = Placement.parse(settings.stream_placement)
    await ensure_quorum(nats, replicas=settings.stream_replicas, placement=placement)
    return Quorum(nats, quorum_of(party, new_id()))


async def _open(settings: Settings, name: str, streams: Sequence[str]) -> tuple[NATS, Quorum | None]:
    nats = await _when_available(lambda: connect_nats(settings, name, patience=_ATTEMPT))
    try:
        await import_marker.wait_until_complete(nats)
        placement = Placement.parse(settings.stream_placement)
        await _when_available(
            lambda: ensure_streams(nats, replicas=settings.stream_replicas, placement=placement, names=streams)
        )
        # While the store did not answer, the first look could not tell whether an import is in progress.
        await import_marker.wait_until_complete(nats)
        return nats, await _when_available(lambda: quorum_of_process(settings, nats, name))
    except BaseException:
        await nats.close()
        raise


async def _when_available(step: Callable[[], Awaitable[T]]) -> T:
    """The result of the step, which is repeated while the event store is unavailable; logs that now and then."""
    loop = asyncio.get_running_loop()
    log_at = loop.time()
    while True:
        try:
            return await step()
        except Refused as refused:
            if refused.error.err_code not in NO_LEADER:
                raise
            reason = str(refused)
        except Unavailable as unavailable:
            reason = str(unavailable)
        if loop.time() >= log_at:
            log.warning("waiting for the event store: %s", reason)
            log_at = loop.time() + _LOG_INTERVAL
        await asyncio.sleep(_PAUSE)
