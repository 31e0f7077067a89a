"""Auth creates keys of personal data for users who exist, and puts none in the place of a lost or destroyed one."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta

import msgspec
import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance
from contracts.errors import Invalid, KeysUnavailable, LegalHold, MessageNotFound, UserNotFound
from contracts.personal_data.key_ids import MONTH_AHEAD, person_key, text_key
from contracts.rpc.vestnik.auth.v1 import CreateDataKeysRequest
from contracts.subjects import DATA_KEYS, stream_of_bucket
from contracts.values.ids import new_id
from services.auth.data_keys.domain import ERASURE, RETENTION, decide_destroy, decide_hold, decide_release
from services.auth.data_keys.reactions import KeyDestructions
from services.auth.data_keys.rings import RecordedKeys
from services.auth.data_keys.server import DataKeyServer
from services.auth.data_keys.unrecorded import UnrecordedKeys
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.topology import ensure_bucket
from tests.integration.auth_and_session import PASSWORD, Auth, Clock
from tests.integration.recorded_keys import Recorded

Work = Callable[[], Coroutine[None, None, None]]
USER = "0000000a-0000-7000-8000-000000000000"


class Stopped(Exception):
    """The process ended here."""


class StopsAt(KeyStore):
    """Ends before or after one of the requests that change the store."""

    def __init__(self, nats: NATS, request: int, *, before: bool) -> None:
        super().__init__(nats)
        self._left = request
        self._before = before

    async def erase(self, revision: int) -> None:
        await self._stopping(lambda: super(StopsAt, self).erase(revision))

    async def remove(self, revision: int) -> None:
        await self._stopping(lambda: super(StopsAt, self).remove(revision))

    async def put(self, key_id: str, record: KeyRecord, *, revision: int) -> int:
        stored: list[int] = []

        async def put() -> None:
            stored.append(await super(StopsAt, self).put(key_id, record, revision=revision))

        await self._stopping(put)
        return stored[0]

    async def _stopping(self, work: Work) -> None:
        self._left -= 1
        # Nor does it do anything afterwards.
        if self._left < 0 or (self._left == 0 and self._before):
            raise Stopped
        await work()
        if self._left == 0:
            raise Stopped


async def registered(auth: Auth) -> str:
    user = await auth.commands.register(
        email="anna@example.org", username="anna", password=PASSWORD, display_name=None, provenance=Provenance()
    )
    return user.user_id


async def test_two_replicas_that_create_the_same_keys_at_once_create_one_of_each(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    user = await registered(one)
    ids = [person_key(user), *(text_key(new_id(), user, clock()) for _ in range(5))]
    await asyncio.gather(*(auth.data_keys(streams).create(ids) for auth in (one, other, one, other)))
    records = await store.find(ids)
    assert len(records) == len(ids)
    await other.data_keys(streams).create(ids)
    assert await store.find(ids) == records
    keys = await DataKeys(store, one.master_keys).find(ids)
    assert None not in keys.values()


async def test_an_unknown_user_and_an_erased_one_get_no_key(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    auth = replicas[0]
    keys, unknown = auth.data_keys(streams), new_id()
    for key_id in (person_key(unknown), text_key(new_id(), unknown, clock())):
        with pytest.raises(UserNotFound):
            await keys.create([key_id])
    user = await registered(auth)
    await KeyDestruction(store).destroy_person(user)
    for key_id in (person_key(user), text_key(new_id(), user, clock())):
        with pytest.raises(UserNotFound):
            await keys.create([key_id])
    assert (await store.find([person_key(unknown), person_key(user)])).keys() == {person_key(user)}


async def test_a_key_that_was_created_and_is_not_in_the_store_is_lost_and_no_other_one_takes_its_place(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    user = await registered(replicas[0])
    text, other = text_key(new_id(), user, clock()), text_key(new_id(), user, clock())
    await replicas[0].data_keys(streams).create([text])
    lost = (await store.versions(text))[0]
    await store.erase(lost.revision)
    for auth in replicas:
        with pytest.raises(KeysUnavailable):
            await auth.data_keys(streams).create([other, text])
    assert await store.find([text]) == {}
    # What a backup has of it is used again.
    await store.put(text, lost.record, revision=0)
    await replicas[1].data_keys(streams).create([other, text])
    assert (await store.find([text]))[text] == lost.record
    # The whole bucket.
    await streams.jetstream().delete_stream(stream_of_bucket(DATA_KEYS))
    await ensure_bucket(streams, DATA_KEYS, replicas=1)
    for key_id in (text, text_key(new_id(), user, clock())):
        with pytest.raises(KeysUnavailable):
            await replicas[1].data_keys(streams).create([key_id])
    assert await store.find([person_key(user)]) == {}


async def test_keys_that_the_release_before_has_created_without_a_record_are_recorded(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    one, other = replicas
    anna, erased = await registered(one), new_id()
    ids = [person_key(anna), *(text_key(new_id(), anna, clock()) for _ in range(3))]
    await as_the_release_before(store, one, [*ids, person_key(erased)])
    # Not destroyed in the store yet.
    await one.aggregates.data_keys.execute(erased, lambda ring: decide_destroy(ring, [], ERASURE), Provenance())
    recorded = RecordedKeys(one.aggregates.log)
    assert await recorded.known(ids) == set()
    sweeps = [UnrecordedKeys(store, auth.aggregates.data_keys) for auth in (one, other)]
    assert sum(await asyncio.gather(*(sweep.sweep() for sweep in sweeps))) == len(ids)
    assert await recorded.known(ids) == set(ids)
    assert await sweeps[0].sweep() == 0
    for version in await store.versions(ids[1]):
        await store.erase(version.revision)
    with pytest.raises(KeysUnavailable):
        await one.data_keys(streams).create([ids[1]])


async def test_what_this_release_has_recorded_is_not_looked_up_again(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = replicas[0]
    await auth.data_keys(streams).create([text_key(new_id(), await registered(auth), clock())])
    monkeypatch.setattr(auth.aggregates.data_keys, "execute", None)
    assert await UnrecordedKeys(store, auth.aggregates.data_keys).sweep() == 0


async def as_the_release_before(store: KeyStore, auth: Auth, key_ids: list[str]) -> None:
    """Creates the keys as an auth of 0.3.0 does."""
    await KeyCreation(store, auth.master_keys, Recorded()).create(key_ids)
    for key_id in key_ids:
        [version] = await store.versions(key_id)
        await store.erase(version.revision)
        await store.put(key_id, msgspec.structs.replace(version.record, is_recorded=False), revision=0)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("request_number", range(1, 7))
async def test_a_creation_that_was_cut_off_is_completed_by_another_one(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock, request_number: int, before: bool
) -> None:
    auth, user = replicas[0], await registered(replicas[0])
    ids = [person_key(user), text_key(new_id(), user, clock())]
    recorded = RecordedKeys(auth.aggregates.log)
    cut_off = KeyCreation(StopsAt(streams, request_number, before=before), auth.master_keys, recorded)
    with pytest.raises(Stopped):
        await cut_off.create(ids[1:])
    usable = await DataKeys(store, auth.master_keys).look_up(ids)
    # What may have sealed something is recorded.
    assert usable.keys() <= await recorded.known(ids)
    staged = {key_id: record.wrapped for key_id, record in (await store.find(ids)).items()}
    await replicas[1].data_keys(streams).create(ids)
    keys = await DataKeys(store, auth.master_keys).look_up(ids)
    assert keys.keys() == set(ids)
    assert None not in keys.values()
    wrapped = {key_id: record.wrapped for key_id, record in (await store.find(ids)).items()}
    assert staged.items() <= wrapped.items()
    assert await recorded.known(ids) == set(ids)


async def test_what_the_ring_says_is_destroyed_is_destroyed_in_the_store_and_is_not_created_again(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    auth, user = replicas[0], await registered(replicas[0])
    month, other = text_key(new_id(), user, clock()), text_key(new_id(), user, clock())
    await auth.data_keys(streams).create([month, other])
    rings = auth.aggregates.data_keys
    reaction = asyncio.create_task(KeyDestructions(KeyDestruction(store)).run(streams))
    try:
        await rings.execute(user, lambda ring: decide_destroy(ring, [month], RETENTION), Provenance())
        await until(lambda: is_destroyed(store, month))
        keys = await DataKeys(store, auth.master_keys).find([person_key(user), month, other])
        assert [key is None for key in keys.values()] == [False, True, False]
        with pytest.raises(MessageNotFound):
            await auth.data_keys(streams).create([month])
        await rings.execute(user, lambda ring: decide_hold(ring, "a court's order"), Provenance())
        with pytest.raises(LegalHold):
            await rings.execute(user, lambda ring: decide_destroy(ring, [], ERASURE), Provenance())
        await rings.execute(user, decide_release, Provenance())
        await rings.execute(user, lambda ring: decide_destroy(ring, [], ERASURE), Provenance())
        # Before the store knows it.
        with pytest.raises(UserNotFound):
            await auth.data_keys(streams).create([text_key(new_id(), user, clock())])
        await until(lambda: is_destroyed(store, person_key(user)))
        for key_id in (other, text_key(new_id(), user, clock())):
            with pytest.raises(UserNotFound):
                await replicas[1].data_keys(streams).create([key_id])
    finally:
        reaction.cancel()
        await asyncio.wait({reaction})


async def is_destroyed(store: KeyStore, key_id: str) -> bool:
    return all(version.record.destroyed_at is not None for version in await store.versions(key_id))


async def until(condition: Callable[[], Coroutine[None, None, bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_key_of_a_month_to_come_is_refused(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    user = await registered(replicas[0])
    present = text_key(new_id(), user, clock())
    to_come = f"{present[:-7]}9999-12"
    with pytest.raises(Invalid):
        await replicas[0].data_keys(streams).create([present, to_come])
    assert await store.find([present, to_come]) == {}


async def test_the_key_of_the_next_month_is_created_in_the_last_days_of_a_month(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    user, present = await registered(replicas[0]), clock().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    turn = (present + timedelta(days=70)).replace(day=1)
    key_id = text_key(new_id(), user, turn)
    # The clock of a caller may be a day ahead.
    clock.forward(turn - MONTH_AHEAD - timedelta(days=1, minutes=10) - clock())
    with pytest.raises(Invalid):
        await replicas[0].data_keys(streams).create([key_id])
    clock.forward(timedelta(minutes=20))
    await replicas[0].data_keys(streams).create([key_id])
    assert (await store.find([key_id])).keys() == {key_id}


async def test_a_request_for_anything_but_some_keys_is_invalid(streams: NATS, replicas: tuple[Auth, Auth]) -> None:
    server = DataKeyServer(replicas[0].data_keys(streams), replicas[0].holds())
    valid = person_key(USER)
    requests = [[], [""], [">"], ["person.>"], ["person.x"], ["x" * 10_000], [valid, f"{valid}\n"], [valid] * 101]
    for key_ids in requests:
        with pytest.raises(Invalid):
            await server.create_data_keys(CreateDataKeysRequest(key_ids=key_ids))


async def test_while_the_store_is_away_no_key_is_promised(streams: NATS, replicas: tuple[Auth, Auth]) -> None:
    user = await registered(replicas[0])
    # There is no bucket.
    with pytest.raises(KeysUnavailable):
        await replicas[0].data_keys(streams).create([person_key(user)])
