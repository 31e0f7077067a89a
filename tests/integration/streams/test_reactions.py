"""Where a durable consumer begins, what is parked and what becomes of it, with the real NATS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from unittest.mock import AsyncMock

import msgspec
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from contracts.durable_consumers import SESSION_ALERTS, Durable
from contracts.envelope import Provenance, Recorded, encode, seal
from contracts.errors import Unavailable
from contracts.events.event import Event
from contracts.events.user import UserCreated
from contracts.subjects import AUTH, parked_by, stream_of_bucket, user
from contracts.values.ids import new_id
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import Changed, KeyValue
from streams.log import Append, Log
from streams.message import Message
from streams.reactions.parked import ParkedEvent, ParkedEvents, ParkedId
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries, RetryLater
from streams.reactions.status import ReactionStatus, reaction_statuses
from streams.topology import ensure_bucket, ensure_stream, settings_of_bucket

PATIENCE = 60
HOUR = timedelta(hours=1)
EVERYTHING = Durable(name="newcomers", service="auth", stream=AUTH, subject_filter=user("*"))
RECENT = msgspec.structs.replace(EVERYTHING, max_age=HOUR)
FROM_NOW = msgspec.structs.replace(EVERYTHING, begin="now")
QUICK = Retries(tries=3, tries_in_outage=5, first_pause=0.02, longest_pause=0.05)
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

        reactor = EventReactor(self._nats, durable, react, retries=Retries(first_pause=0.1))
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
    # Another release may have another age; the consumer has its position already.
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


async def test_a_reaction_that_begins_now_leaves_out_the_past_and_goes_on_where_it_was_after_a_restart(
    reaction: Reaction,
) -> None:
    await reaction.user_created()
    async with reaction.of(FROM_NOW):
        second = await reaction.user_created()
        assert await reaction.next() == second
    third = await reaction.user_created()
    async with reaction.of(FROM_NOW):
        assert await reaction.next() == third


async def test_events_are_handled_concurrently_and_no_further_one_is_requested(
    streams: Client, reaction: Reaction
) -> None:
    for _ in range(5):
        await reaction.user_created()
    begun, may_end = asyncio.Semaphore(0), asyncio.Event()

    async def react(_: Recorded[Event]) -> None:
        begun.release()
        await may_end.wait()

    async def state() -> tuple[int | None, int | None, int | None]:
        info = await streams.jetstream().consumer_info(AUTH, EVERYTHING.name)
        return info.num_ack_pending, info.num_pending, info.num_waiting

    running = asyncio.create_task(EventReactor(streams, EVERYTHING, react, at_once=3).run())
    try:
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                await begun.acquire()
            assert await state() == (3, 2, 0)
            may_end.set()
            # When it is idle, one request waits for all of them.
            while await state() != (0, 0, 1):
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        await asyncio.wait({running})


class Failing:
    """A reaction whose effect fails for some users, and what it has parked."""

    def __init__(self, nats: Client) -> None:
        self._nats = nats
        self.users = Reaction(nats)
        self.parked = ParkedEvents(nats, EVERYTHING.service)
        self.attempts: dict[str, int] = {}
        self.errors: dict[str, Exception] = {}
        self.done: set[str] = set()

    async def react(self, event: Recorded[Event]) -> None:
        self.attempts[event.aggregate_id] = self.attempts.get(event.aggregate_id, 0) + 1
        if (error := self.errors.get(event.aggregate_id)) is not None:
            raise error
        self.done.add(event.aggregate_id)

    async def user_created(self, error: Exception | None = None) -> str:
        """Registers a user, whose event then fails with the error."""
        user_id = await self.users.user_created()
        if error is not None:
            self.errors[user_id] = error
        return user_id

    @asynccontextmanager
    async def running(self, replicas: int = 1) -> AsyncIterator[None]:
        reactors = [
            EventReactor(self._nats, EVERYTHING, self.react, ack_wait=0.5, retries=QUICK) for _ in range(replicas)
        ]
        running = [asyncio.create_task(reactor.run()) for reactor in reactors]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def until(self, condition: Callable[[list[ParkedEvent]], bool]) -> list[ParkedEvent]:
        """Waits until the parked events meet the condition."""
        async with asyncio.timeout(PATIENCE):
            while not condition(events := [parked async for parked in self.parked.all()]):
                await asyncio.sleep(0.02)
        return events

    async def until_done(self, *users: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.done.issuperset(users):
                await asyncio.sleep(0.02)

    async def until_settled(self) -> None:
        """Waits until every delivered event is acknowledged."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(NotFoundError):
                    info = await self._nats.jetstream().consumer_info(AUTH, EVERYTHING.name)
                    if info.num_pending == 0 and info.num_ack_pending == 0:
                        return
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def failing(streams: Client) -> Failing:
    await ensure_bucket(streams, parked_by("auth"), replicas=1)
    return Failing(streams)


async def test_an_event_whose_effect_goes_on_failing_is_parked_with_the_reason_and_the_others_go_on(
    failing: Failing,
) -> None:
    bad = await failing.user_created(ZeroDivisionError("by zero"))
    good = await failing.user_created()
    async with failing.running():
        (parked,) = await failing.until(lambda events: len(events) == 1)
        await failing.until_done(good)
        await failing.until_settled()
    assert (parked.state, parked.type, parked.subject) == ("parked", UserCreated.TYPE, user(bad))
    assert (parked.error, parked.attempts) == ("ZeroDivisionError: by zero", 3)
    assert failing.attempts[bad] == 3


async def test_an_outage_parks_later_and_waiting_for_a_turn_never(failing: Failing) -> None:
    class Full(RetryLater):
        is_failure = False

    outage = await failing.user_created(Unavailable())
    waiting = await failing.user_created(Full("no room"))
    async with failing.running():
        (parked,) = await failing.until(lambda events: len(events) == 1)
        async with asyncio.timeout(PATIENCE):
            while failing.attempts[waiting] < 10:
                await asyncio.sleep(0.02)
        del failing.errors[waiting]
        await failing.until_done(waiting)
    assert (parked.subject, failing.attempts[outage]) == (user(outage), 5)
    assert len([parked async for parked in failing.parked.all()]) == 1


async def test_an_event_is_not_attempted_again_if_only_its_acknowledgement_failed_after_parking(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await failing.user_created(ZeroDivisionError())
    acknowledge, failures = Msg.ack, 0

    async def ack(message: Msg) -> None:
        nonlocal failures
        if failures == 0:
            failures += 1
            raise ConnectionError
        await acknowledge(message)

    monkeypatch.setattr(Msg, "ack", ack)
    async with failing.running():
        await failing.until_settled()
    assert (failures, failing.attempts[bad]) == (1, 3)
    (parked,) = [parked async for parked in failing.parked.all()]
    assert (parked.state, parked.attempts) == ("parked", 3)


async def test_a_retry_is_done_once_by_one_of_two_replicas_also_if_none_runs_at_its_request(failing: Failing) -> None:
    bad = await failing.user_created(ZeroDivisionError())
    async with failing.running():
        (parked,) = await failing.until(lambda events: len(events) == 1)
        await failing.parked.request_retry(parked)
        (again,) = await failing.until(lambda events: events[0].attempts == 4)
    assert (again.state, again.error) == ("parked", "ZeroDivisionError")
    await failing.parked.request_retry(again)
    del failing.errors[bad]
    failing.attempts.clear()
    async with failing.running(replicas=2):
        (settled,) = await failing.until(lambda events: events[0].state == "applied")
    assert (settled.attempts, failing.attempts) == (5, {bad: 1})


async def test_an_act_on_what_was_changed_meanwhile_changes_nothing(failing: Failing) -> None:
    await failing.user_created(ZeroDivisionError())
    async with failing.running():
        (parked,) = await failing.until(lambda events: len(events) == 1)
    await failing.parked.discard(parked, "a test", "boris")
    with pytest.raises(Changed):
        await failing.parked.request_retry(parked)
    kept = await failing.parked.get(parked.id)
    assert kept is not None
    assert kept.state == "discarded"


async def test_values_of_another_release_stop_no_reaction(failing: Failing, streams: Client) -> None:
    """A state that is not known counts as not settled; what cannot be read at all is left out."""
    bad = await failing.user_created(ZeroDivisionError())
    values = KeyValue(streams, parked_by(EVERYTHING.service))
    async with failing.running():
        (parked,) = await failing.until(lambda events: len(events) == 1)
        await values.put(f"{EVERYTHING.name}.1000", b'{"reaction": 1}')
        await values.put(f"{EVERYTHING.name}.1001", b"no JSON")
        later = msgspec.json.encode(msgspec.structs.replace(parked, sequence=1002, state="waits-for-moon"))
        await values.put(f"{EVERYTHING.name}.1002", later)
        assert (await failing.parked.counts())[EVERYTHING.name] == 2
        # After those values in the bucket.
        del failing.errors[bad]
        await failing.parked.request_retry(parked)
        await failing.until(lambda events: [event.state for event in events] == ["waits-for-moon", "applied"])


async def test_an_event_at_the_sequence_of_one_that_the_stream_has_lost_is_parked_too(failing: Failing) -> None:
    def stored_first(user_id: str) -> Message:
        event = UserCreated(username="anna", display_name="Anna")
        envelope = seal(event, aggregate_id=user_id, version=1, provenance=Provenance())
        return Message(AUTH, 1, user(user_id), encode(envelope))

    anna = new_id()
    for before, message in pairwise((stored_first(anna), stored_first(anna), stored_first(new_id()))):
        for _ in range(2):
            await failing.parked.park(EVERYTHING, before, "a test", 10)
        (parked,) = [parked async for parked in failing.parked.all()]
        await failing.parked.discard(parked, "a test", "boris")
        assert await failing.parked.is_parked(EVERYTHING, before)
        assert not await failing.parked.is_parked(EVERYTHING, message)
        await failing.parked.park(EVERYTHING, message, "another test", 10)
        (parked,) = [parked async for parked in failing.parked.all()]
        assert (parked.state, parked.subject, parked.error) == ("parked", message.subject, "another test")


async def test_a_count_from_a_replica_that_lags_is_made_good(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    await failing.user_created(ZeroDivisionError())
    async with failing.running():
        (parked,) = await failing.until(lambda events: len(events) == 1)
    with monkeypatch.context() as lagging:
        lagging.setattr(JetStream, "many", AsyncMock(return_value=([], False)))
        assert (await failing.parked.counts())[EVERYTHING.name] == 0
    assert (await failing.parked.counts())[EVERYTHING.name] == 1
    await failing.parked.discard(parked, "a test", "boris")
    assert (await failing.parked.counts())[EVERYTHING.name] == 0


async def test_a_full_bucket_parks_no_more_but_its_events_can_be_settled(streams: Client) -> None:
    bucket = parked_by("auth")
    await ensure_stream(streams, settings_of_bucket(bucket, replicas=1) | {"max_msgs": 1})
    failing = Failing(streams)
    first = await failing.user_created(ZeroDivisionError())
    async with failing.running():
        (parked,) = await failing.until(lambda events: len(events) == 1)
        second = await failing.user_created(ZeroDivisionError())
        async with asyncio.timeout(PATIENCE):
            while failing.attempts.get(second, 0) < 6:
                await asyncio.sleep(0.02)
        assert parked.subject == user(first)
        discarded = await failing.parked.discard(parked, "a test", "boris")
        del failing.errors[second]
        await failing.until_done(second)
    assert discarded.revision > parked.revision
    assert (await JetStream(streams).info(stream_of_bucket(bucket))).state.messages == 1


async def test_without_a_bucket_nothing_is_parked_and_nothing_is_lost(streams: Client) -> None:
    failing = Failing(streams)
    bad = await failing.user_created(ZeroDivisionError())
    async with failing.running():
        async with asyncio.timeout(PATIENCE):
            while failing.attempts.get(bad, 0) < 5:
                await asyncio.sleep(0.02)
        assert await failing.parked.get(ParkedId(EVERYTHING.name, AUTH, 1)) is None
        assert [parked async for parked in failing.parked.all()] == []
        assert not await failing.parked.counts()
        del failing.errors[bad]
        await failing.until_done(bad)


async def test_its_status_says_how_far_a_reaction_is_what_waits_and_what_is_parked(
    failing: Failing, streams: Client
) -> None:
    async def status() -> ReactionStatus:
        (report,) = await reaction_statuses(streams, [EVERYTHING], patience=PATIENCE)
        return report

    async def until(state: str) -> ReactionStatus:
        async with asyncio.timeout(PATIENCE):
            while (report := await status()).state != state:
                pass
        return report

    class Full(RetryLater):
        is_failure = False

    assert ((await status()).state, (await status()).lag) == ("missing", None)
    await failing.user_created(ZeroDivisionError())
    await failing.user_created(Full("no room"))
    done = await failing.user_created()
    async with failing.running():
        await failing.until(lambda events: len(events) == 1)
        await failing.until_done(done)
        report = await until("running")
        assert (report.lag, report.lag_seconds, report.waiting, report.parked) == (0, 0.0, 1, 1)
        # The event that waits is the second.
        assert (report.position, report.attempts >= 5) == (1, True)
    await failing.user_created()
    stopped = await until("stopped")
    assert (stopped.lag, stopped.parked) == (1, 1)
    assert stopped.lag_seconds is not None
    assert 0 < stopped.lag_seconds < PATIENCE
