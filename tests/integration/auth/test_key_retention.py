"""The keys of months that are over for long and have no message are destroyed, but not those of held people."""

import asyncio
from datetime import datetime, timedelta
from functools import partial

import pytest
from nats.aio.client import Client as NATS
from prometheus_client import REGISTRY

from contracts.envelope import Provenance
from contracts.errors import Invalid, ReadModelBehind, UserNotFound
from contracts.events.data_keys import DataKeysDestroyed, DataKeysHoldPlaced
from contracts.personal_data.key_ids import address_key, person_key, text_key
from contracts.rpc.vestnik.auth.v1 import PlaceHoldRequest, ReleaseHoldRequest
from contracts.subjects import data_keys
from contracts.values.ids import new_id
from services.auth.data_keys.domain import ERASURE, decide_destroy
from services.auth.data_keys.reactions import KeyDestructions
from services.auth.data_keys.retention import KeyRetention, Swept
from services.auth.data_keys.server import DataKeyServer
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.destruction import KeyDestruction
from tests.integration.auth.test_data_keys import is_destroyed, until
from tests.integration.auth_and_session import PASSWORD, Auth, Clock

KEEP = timedelta(days=60)


class Messages:
    """Messaging, in the test's memory."""

    def __init__(self) -> None:
        # When the oldest message was sent that is not deleted.
        self.oldest_sent: datetime | None = None
        self.is_away = False

    async def oldest(self) -> datetime | None:
        if self.is_away:
            raise ReadModelBehind
        return self.oldest_sent


async def registered(auth: Auth, name: str) -> str:
    user = await auth.commands.register(
        email=f"{name}@example.org", username=name, password=PASSWORD, display_name=None, provenance=Provenance()
    )
    return user.user_id


def retention(auth: Auth, store: KeyStore, clock: Clock, messages: Messages | None = None) -> KeyRetention:
    """The retention of a process that has just been started."""
    return KeyRetention(store, auth.aggregates.data_keys, messages or Messages(), KEEP, clock=clock)


async def destroyed(auth: Auth, user_id: str) -> list[DataKeysDestroyed]:
    events = [message.open().data for message in await auth.aggregates.log.read(data_keys(user_id))]
    return [event for event in events if isinstance(event, DataKeysDestroyed)]


async def test_old_months_end_once_and_those_of_held_people_when_the_hold_is_released(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    auth, other = replicas
    anna, held = await registered(auth, "anna"), await registered(auth, "held")
    conversation = new_id()
    # The month in which the time to keep begins is not over for so long.
    youngest = text_key(conversation, anna, clock() - KEEP)
    old = [text_key(conversation, anna, clock() - KEEP - timedelta(days=32 * months)) for months in (1, 2, 12)]
    of_held = text_key(conversation, held, clock() - KEEP - timedelta(days=400))
    # The time for messages is not about origins, whose keys name the month of their end.
    last_month, present = (clock().replace(day=1) - timedelta(days=days) for days in (3, 0))
    ended, of_origins = address_key(anna, last_month), [address_key(anna, at) for at in (present, clock() + KEEP)]
    await auth.data_keys(streams).create([youngest, *old, of_held, ended, *of_origins])
    assert await auth.holds().place(held, "a court's order", Provenance())
    reaction = asyncio.create_task(KeyDestructions(KeyDestruction(store)).run(streams))
    try:
        sweeps = await asyncio.gather(*(retention(one, store, clock).sweep() for one in (auth, other, auth)))
        assert {swept.held for swept in sweeps} == {1}
        events = await destroyed(auth, anna)
        assert [(sorted(event.key_ids), event.reason) for event in events] == [
            ([ended], "retention"),
            (sorted(old), "retention"),
        ]
        for key_id in (ended, *old):
            await until(partial(is_destroyed, store, key_id))
        assert await retention(auth, store, clock).sweep() == Swept(0, 1)
        for key_id in (*of_origins, youngest, of_held, person_key(anna), person_key(held)):
            assert not await is_destroyed(store, key_id)
        assert await destroyed(auth, held) == []
        # Released by another replica.
        assert await other.holds().release(held, Provenance())
        assert await retention(auth, store, clock).sweep() == Swept(1, 0)
        await until(lambda: is_destroyed(store, of_held))
        clock.forward(timedelta(days=32))
        assert await retention(auth, store, clock).sweep() == Swept(2, 0)
        await until(lambda: is_destroyed(store, youngest))
        await until(lambda: is_destroyed(store, of_origins[0]))
        assert not await is_destroyed(store, person_key(anna))
        assert not await is_destroyed(store, of_origins[1])
    finally:
        reaction.cancel()
        await asyncio.wait({reaction})


async def test_a_month_ends_only_after_the_last_of_its_messages_whatever_the_clock_says(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    auth, messages = replicas[0], Messages()
    anna, conversation = await registered(auth, "anna"), new_id()
    # Two months that are over for long.
    later = (clock() - KEEP - timedelta(days=100)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    earlier = later - timedelta(days=1)
    keys = [text_key(conversation, anna, month) for month in (earlier, later)]
    await auth.data_keys(streams).create(keys)

    async def sweep() -> list[str]:
        """Runs one sweep; returns the keys that it destroyed."""
        before = len(await destroyed(auth, anna))
        await retention(auth, store, clock, messages).sweep()
        return [key_id for event in (await destroyed(auth, anna))[before:] for key_id in event.key_ids]

    messages.oldest_sent = earlier
    assert await sweep() == []
    # One of the earlier month may have a later id.
    messages.oldest_sent = later
    assert await sweep() == []
    messages.oldest_sent = later + timedelta(days=2)
    assert await sweep() == [keys[0]]
    messages.is_away = True
    of_origins = address_key(anna, later)
    await auth.data_keys(streams).create([of_origins])
    with pytest.raises(ReadModelBehind):
        await sweep()
    # What is not about messages does not wait for them.
    assert (await destroyed(auth, anna))[-1].key_ids == (of_origins,)
    messages.is_away, messages.oldest_sent = False, None
    assert await sweep() == [keys[1]]


async def test_a_hold_is_placed_once_on_a_user_who_exists_and_is_not_erased(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth]
) -> None:
    auth = replicas[0]
    user = await registered(auth, "anna")
    server = DataKeyServer(auth.data_keys(streams), auth.holds())
    for reason in ("", "x" * 1_001):
        with pytest.raises(Invalid):
            await server.place_hold(PlaceHoldRequest(user_id=user, reason=reason))
    for placed in (True, False):
        answer = await server.place_hold(PlaceHoldRequest(user_id=user, reason="a court's order"))
        assert answer.placed is placed
    for released in (True, False):
        assert (await server.release_hold(ReleaseHoldRequest(user_id=user))).released is released
    events = [message.open().data for message in await auth.aggregates.log.read(data_keys(user))]
    assert [event.reason for event in events if isinstance(event, DataKeysHoldPlaced)] == ["a court's order"]
    with pytest.raises(UserNotFound):
        await server.place_hold(PlaceHoldRequest(user_id=new_id(), reason="nobody"))
    await auth.aggregates.data_keys.execute(user, lambda ring: decide_destroy(ring, [], ERASURE), Provenance())
    with pytest.raises(UserNotFound):
        await server.place_hold(PlaceHoldRequest(user_id=user, reason="too late"))


async def test_what_is_left_is_a_metric_and_what_a_hold_keeps_is_another(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    auth, messages = replicas[0], Messages()
    anna, held = await registered(auth, "anna"), await registered(auth, "held")
    old = clock() - KEEP - timedelta(days=100)
    await auth.data_keys(streams).create([address_key(anna, old), *(address_key(held, old + KEEP * n) for n in (0, 1))])
    await auth.holds().place(held, "a court's order", Provenance())
    messages.oldest_sent = old
    keys = retention(auth, store, clock, messages)
    assert await keys.sweep() == Swept(1, 2, is_complete=False)
    assert metric("vestnik_retention_held_keys") == 2
    assert (metric("vestnik_retention_overdue_seconds", data="keys") or 0) > 0
    messages.oldest_sent = None
    assert await keys.sweep() == Swept(0, 2)
    assert metric("vestnik_retention_overdue_seconds", data="keys") == 0


def metric(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)
