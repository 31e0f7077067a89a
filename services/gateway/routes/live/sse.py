"""Writes a live subscription as server-sent events."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from random import randrange

from starlette.types import Scope, Send

from services.gateway.http.scope_extensions import CAN_WRITE, MORE, abort, can_write_now
from services.gateway.live.client_pace import PATIENCE, Pace
from services.gateway.live.client_queue import CloseReason
from services.gateway.live.delivery import LiveDelivery, SubscriptionRequest
from services.gateway.live.subscription import ClientEvent

log = logging.getLogger(__name__)
# Range of a client's random reconnection delay, in milliseconds.
_RETRY = (500, 1_500)
_CHUNK = 64 * 1024


class ServerSentEvents:
    """Streaming response of `GET /v1/events`."""

    __slots__ = ("_beginning", "_live", "_patience")

    def __init__(self, live: LiveDelivery, beginning: SubscriptionRequest, *, patience: float = PATIENCE) -> None:
        self._live = live
        self._beginning = beginning
        self._patience = patience

    async def send(self, scope: Scope, gone: asyncio.Future[None], send: Send) -> None:
        pace = Pace(self._patience)
        async with self._live.subscribe(self._beginning, "sse") as feed:
            gone.add_done_callback(lambda _: feed.give_up(CloseReason.DISCONNECTED))
            more: Callable[[bytes], None] | None = scope.get(MORE)
            can_write: Callable[[], bool] | None = scope.get(CAN_WRITE)
            if more is not None and can_write is not None:
                write, is_free = more, can_write

                def pass_on(item: ClientEvent) -> bool:
                    if not is_free() or gone.done():
                        return False
                    write(_written(item))
                    return True

                feed.try_write = pass_on
            try:
                # Position first: a client that disconnects before the first event resumes there.
                await _pass_on(scope, send, pace, f"retry: {randrange(*_RETRY)}\nid: {feed.id}\n\n".encode())  # noqa: S311
                while feed.end is None:
                    items = await feed.next()
                    if feed.end is not None:
                        break
                    for chunk in _chunks(items) if items else (f":\nid: {feed.id}\n\n".encode(),):
                        await _pass_on(scope, send, pace, chunk)
            except TimeoutError:
                feed.give_up(CloseReason.SLOW)
                abort(scope)
            except Exception:
                # The edge: unexpected errors are logged here; the stream ends and the client reconnects.
                log.exception("a stream of events failed")
                feed.give_up(CloseReason.FAILED)


async def _pass_on(scope: Scope, send: Send, pace: Pace, chunk: bytes) -> None:
    message = {"type": "http.response.body", "body": chunk, "more_body": True}
    if can_write_now(scope):
        await send(message)
        pace.took(len(chunk))
    else:
        await pace.wait(send(message), len(chunk))


def _written(item: ClientEvent) -> bytes:
    position = b"id: %b\n" % item.id.encode() if item.id else b""
    return b"%bevent: %b\ndata: %b\n\n" % (position, item.type.encode(), item.data)


def _chunks(items: Iterable[ClientEvent]) -> Iterator[bytes]:
    """Encodes events into chunks; a chunk ends with the event that brings it to 64 KiB."""
    gathered, size = [], 0
    for item in items:
        event = _written(item)
        gathered.append(event)
        size += len(event)
        if size >= _CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
