"""The step of delivering a message to the live streams of its two users."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Any, cast

from prometheus_client import CollectorRegistry

from contracts.envelope import Provenance, encode, seal
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING, conversation
from contracts.values.ids import new_id, pair_id
from services.gateway.http.scope_extensions import CAN_WRITE, MORE
from services.gateway.live.delivery import LiveDelivery, SubscriptionRequest
from services.gateway.live.fanout import STREAMS
from services.gateway.live.friend_index import FriendIndex
from services.gateway.live.hub import Hub
from services.gateway.observability.live_metrics import LiveMetrics
from services.gateway.routes.live.sse import ServerSentEvents
from services.gateway.security.access_tokens import Principal
from streams.jetstream.client import Client as NatsClient
from streams.message import Message as Stored
from streams.reader import ReadBatch
from tests.bench.played_gateway import ANNA, BORIS, TEXT, Step, Unchanging, position_cipher


class Quiet:
    """Stubs around live delivery: sessions that do not end, and no friends."""

    def __init__(self) -> None:
        self.friend_index = FriendIndex(self._friends)

    async def _friends(self, user_id: str, position: int) -> frozenset[str]:
        return frozenset()

    @contextlib.contextmanager
    def watch_session(self, session_id: str, tell: object) -> Iterator[None]:
        yield


@asynccontextmanager
async def delivery(devices: int = 1) -> AsyncIterator[Step]:
    """The gateway's path from the stored event to the bytes of its two users' live streams, one for each device."""
    nothing, quiet = cast(Any, None), Quiet()
    live = LiveDelivery(
        NatsClient(),
        nothing,
        nothing,
        revocations=cast(Any, quiet),
        session_seconds=1e9,
        metrics=LiveMetrics(CollectorRegistry()),
        keys=Unchanging(),
        sealed=(sealed := position_cipher()),
    )
    live._hub = Hub(cast(Any, quiet.friend_index), seal=sealed.seal_sequences)
    for stream in STREAMS:
        live.on_start(stream, 0)
    got = 0

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's
        nonlocal got
        got += message["body"].count(b"\nevent: ")

    users = [ANNA, BORIS] * devices
    gone = [asyncio.get_running_loop().create_future() for _ in users]

    def more(part: bytes) -> None:
        nonlocal got
        got += part.count(b"\nevent: ")

    scope: dict[str, Any] = {CAN_WRITE: lambda: True, MORE: more}
    streams = [
        asyncio.create_task(
            ServerSentEvents(
                live, SubscriptionRequest(Principal(user, new_id(), time.time() + 900, "k"), dict.fromkeys(STREAMS, 0))
            ).send(scope, ended, send)
        )
        for user, ended in zip(users, gone, strict=True)
    ]
    numbers = count(1)
    conversation_id = pair_id(ANNA, BORIS)

    async def step(wanted: int) -> None:
        nonlocal got
        before = got
        for number in islice(numbers, wanted):
            event = MessageSent(
                message_id=new_id(),
                sender_id=ANNA,
                recipient_id=BORIS,
                sequence=number,
                text=TEXT,
                client_message_id=new_id(),
            )
            envelope = seal(event, aggregate_id=conversation_id, version=number, provenance=Provenance())
            payload = encode(envelope)
            message = Stored(MESSAGING, number, conversation(conversation_id), payload)
            live.on_batch(MESSAGING, ReadBatch([message], number, 0))
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            while got - before < len(users) * wanted:
                await asyncio.sleep(0)

    while sum(queue.attached for queue in live._queues) < len(users):
        await asyncio.sleep(0.05)
    yield step
    live.stop()
    await asyncio.gather(*streams)
