"""A durable consumer: its creation, and the delivery of its messages one by one."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from contracts.durable_consumers import Durable
from contracts.envelope import now
from streams.cancellation import stop_if_cancelled

# Seconds that a request waits at the server; one that is lost is repeated after as long.
_REQUEST_SECONDS = 2.0
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
        self._jetstream = nc.jetstream()
        self._durable = durable
        self._ack_wait = ack_wait
        self._request_seconds = request_seconds

    async def messages(self) -> AsyncGenerator[Msg, None]:
        """The consumer's messages without end; each is requested only when the caller asks for it.

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
        subscription = await self._jetstream.pull_subscribe_bind(durable.name, durable.stream)
        loop = asyncio.get_running_loop()
        try:
            while True:
                stop_if_cancelled()
                earliest = loop.time() + _BREATH
                try:
                    fetched = await subscription.fetch(1, timeout=self._request_seconds)
                except NatsTimeout:
                    # No message. Any other time-out means that no consumer answered: it is created again.
                    await asyncio.sleep(max(earliest - loop.time(), 0.0))
                    continue
                for message in fetched:
                    yield message
        finally:
            await subscription.unsubscribe()

    async def keep(self, message: Msg) -> None:
        """Reports work in progress until cancelled, so that the message is not redelivered meanwhile."""
        while True:
            await asyncio.sleep(self._ack_wait / 3)
            await message.in_progress()

    async def _start(self) -> tuple[DeliverPolicy | None, datetime | None]:
        """Where the consumer begins; NATS accepts no other start for a consumer that exists."""
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
