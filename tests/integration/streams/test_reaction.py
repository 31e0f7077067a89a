"""Where a durable consumer begins, with the real NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from contracts.durable_consumers import SESSION_ALERTS, Durable
from contracts.envelope import Provenance, Recorded, seal
from contracts.events.event import Event
from contracts.events.user import UserCreated
from contracts.subjects import AUTH, user
from contracts.values.ids import new_id
from streams.log import Append, Log
from streams.reaction import EventReactor

PATIENCE = 60
HOUR = timedelta(hours=1)
EVERYTHING = Durable(name="newcomers", service="auth", stream=AUTH, subject_filter=user("*"))
RECENT = msgspec.structs.replace(EVERYTHING, max_age=HOUR)
# It would begin in an hour, so all events so far are too old.
LATER = msgspec.structs.replace(EVERYTHING, max_age=-HOUR)


class Reaction:
    def __init__(self, nats: Client) -> None:
        self._nats = nats
        self._log = Log(nats)
        self._users: asyncio.Queue[str] = asyncio.Queue()

    async def user_created(self) -> str:
        user_id = new_id()
        event = UserCreated(username="anna", display_name="Anna")
        envelope = seal(event, aggregate_id=user_id, version=1, provenance=Provenance())
        await self._log.append(Append(subject=user(user_id), expected=0, envelope=envelope))
        return user_id

    async def next(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self._users.get()

    @asynccontextmanager
    async def of(self, durable: Durable) -> AsyncIterator[None]:
        """Reacts until the end of the block, which begins once the consumer exists."""

        async def react(event: Recorded[Event]) -> None:
            self._users.put_nowait(event.aggregate_id)

        reactor = EventReactor(self._nats, durable, react, first_pause=0.1)
        running = asyncio.create_task(reactor.run())
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self._exists(durable):
                    await asyncio.sleep(0.02)
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def _exists(self, durable: Durable) -> bool:
        try:
            await self._nats.jetstream().consumer_info(durable.stream, durable.name)
        except NotFoundError:
            return False
        return True


@pytest.fixture
def reaction(streams: Client) -> Reaction:
    return Reaction(streams)


async def test_a_new_consumer_leaves_out_what_is_too_old_and_goes_on_where_it_was_after_a_restart(
    reaction: Reaction,
) -> None:
    await reaction.user_created()
    async with reaction.of(LATER):
        second = await reaction.user_created()
        assert await reaction.next() == second
    third = await reaction.user_created()
    # Another release may have another age; the consumer has its place already.
    async with reaction.of(RECENT):
        assert await reaction.next() == third


async def test_what_is_not_too_old_is_delivered_by_a_new_consumer(reaction: Reaction) -> None:
    first = await reaction.user_created()
    async with reaction.of(RECENT):
        assert await reaction.next() == first


async def test_a_consumer_that_began_with_the_stream_goes_on_once_it_has_an_age(
    reaction: Reaction, streams: Client
) -> None:
    first = await reaction.user_created()
    async with reaction.of(EVERYTHING):
        assert await reaction.next() == first
    second = await reaction.user_created()
    changed = msgspec.structs.replace(LATER, most_pending=5)
    async with reaction.of(changed):
        assert await reaction.next() == second
    config = (await streams.jetstream().consumer_info(AUTH, changed.name)).config
    assert (config.deliver_policy, config.opt_start_time, config.max_ack_pending) == (DeliverPolicy.ALL, None, 5)


async def test_alerts_begin_with_the_last_days(streams: Client, reaction: Reaction) -> None:
    async with reaction.of(SESSION_ALERTS):
        config: ConsumerConfig = (
            await streams.jetstream().consumer_info(SESSION_ALERTS.stream, SESSION_ALERTS.name)
        ).config
    assert config.deliver_policy == DeliverPolicy.BY_START_TIME
