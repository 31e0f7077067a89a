"""A durable consumer: its creation, and the delivery of its messages one by one."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from itertools import count

from msgspec import json
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header
from nats.js.errors import APIError, NotFoundError

from contracts.durable_consumers import Durable
from contracts.envelope import now
from streams.cancellation import stop_if_cancelled

# Seconds that a request waits at the server, and after which it counts as lost if not even its end is reported.
_REQUEST_SECONDS, _GRACE = 2.0, 0.5
# Normal ends of a request: no messages, expired, or a conflict such as another leader.
_ENDED = {"404", "408", "409"}
# At least, between two requests: the first may be refused immediately.
_BREATH = 0.05


class DurableConsumer:
    def __init__(
        self, nc: Client, durable: Durable, *, ack_wait: float, request_seconds: float = _REQUEST_SECONDS
    ) -> None:
        """
        `ack_wait`: seconds after which a message of a failed process is redelivered to another.
        `request_seconds`: how long a request waits at the server.
        """
        self._nc = nc
        self._jetstream = nc.jetstream()
        self._durable = durable
        self._ack_wait = ack_wait
        self._request_seconds = request_seconds

    async def messages(self, free: Callable[[], int]) -> AsyncGenerator[Msg, None]:
        """The consumer's messages without end.

        `free`: how many the caller can take now, at least one; so many are requested together.

        Raises:
            nats.errors.Error: the stream does not exist, or the server refuses or does not answer.
        """
        durable = self._durable
        deliver_policy, start_time = await self._start()
        await self._jetstream.add_consumer(
            durable.stream,
            ConsumerConfig(
                # With `name`, the request carries name and filter in its subject, where the server checks them.
                name=durable.name,
                durable_name=durable.name,
                filter_subject=durable.subject_filter,
                deliver_policy=deliver_policy,
                opt_start_time=start_time,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._ack_wait,
                max_deliver=-1,
                max_ack_pending=durable.most_pending,
            ),
        )
        inbox, request = self._nc.new_inbox(), ""
        subscription = await self._nc.subscribe(f"{inbox}.*")
        loop, numbers = asyncio.get_running_loop(), count()
        # Messages requested and not yet received.
        asked, earliest = 0, 0.0
        try:
            while True:
                stop_if_cancelled()
                if asked <= 0:
                    await asyncio.sleep(max(earliest - loop.time(), 0.0))
                    asked, earliest = free(), loop.time() + _BREATH
                    request = f"{inbox}.{next(numbers)}"
                    await self._request(asked, request)
                try:
                    message = await subscription.next_msg(timeout=self._request_seconds + _GRACE)
                except NatsTimeout:
                    # The request was lost, as when the server was started again.
                    asked = 0
                    continue
                status = (message.headers or {}).get(Header.STATUS)
                if status is None:
                    asked, earliest = asked - 1, 0.0
                    yield message
                elif status not in _ENDED:
                    APIError.from_msg(message)
                elif message.subject == request:
                    asked = 0
        finally:
            await subscription.unsubscribe()

    async def _request(self, number: int, reply: str) -> None:
        durable = self._durable
        request = {"batch": number, "expires": round(self._request_seconds * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.name}"
        await self._nc.publish(subject, json.encode(request), reply=reply)

    async def keep(self, message: Msg) -> None:
        """Reports work in progress until cancelled, so that the message is not redelivered meanwhile."""
        while True:
            await asyncio.sleep(self._ack_wait / 3)
            await message.in_progress()
            stop_if_cancelled()

    async def _start(self) -> tuple[DeliverPolicy | None, datetime | None]:
        """The consumer's start position; NATS accepts no other one for a consumer that exists."""
        durable = self._durable
        if durable.begin == "first" and durable.max_age is None:
            return DeliverPolicy.ALL, None
        try:
            existing = (await self._jetstream.consumer_info(durable.stream, durable.name)).config
        except NotFoundError:
            if durable.max_age is None:
                return DeliverPolicy.NEW, None
            # Whole minutes, so that replicas that create it at the same time agree.
            start = (now() - durable.max_age).replace(second=0, microsecond=0)
            return DeliverPolicy.BY_START_TIME, start
        return existing.deliver_policy, existing.opt_start_time
