"""What the recorders of the `eventsourcing` library promise beyond its own suites."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactory,
    IntegrityError,
    InterfaceError,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
)
from eventsourcing.utils import Environment
from nats.aio.client import Client

from contracts import envelope
from contracts.envelope import Provenance
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated
from contracts.subjects import CONTACT, friendship
from contracts.values.ids import pair_id
from infra.embedded.nats_server import NatsServer
from streams.log import Append, Log
from streams.persistence.application_recorder import JetStreamApplicationRecorder
from streams.recorder import JetStreamFactory


def factory_of(server: NatsServer, **settings: str) -> JetStreamFactory:
    return JetStreamFactory(Environment("Library", {"NATS_URL": server.url, "NATS_TIMEOUT": "5"} | settings))


def event(originator_id: UUID | str, version: int, state: bytes = b"{}", topic: str = "lent") -> StoredEvent:
    return StoredEvent(originator_id=originator_id, originator_version=version, topic=topic, state=state)


def recorder_of(factory: JetStreamFactory) -> JetStreamApplicationRecorder:
    recorder = factory.application_recorder()
    assert isinstance(recorder, JetStreamApplicationRecorder)
    return recorder


@pytest.fixture
def factory(nats_server: NatsServer) -> Iterator[JetStreamFactory]:
    factory = factory_of(nats_server)
    yield factory
    factory.close()


@pytest.fixture
def recorder(factory: JetStreamFactory) -> JetStreamApplicationRecorder:
    return recorder_of(factory)


@pytest.fixture
def another(nats_server: NatsServer) -> Iterator[JetStreamApplicationRecorder]:
    """A second recorder on the same stream, a separate process to the server."""
    factory = factory_of(nats_server)
    yield recorder_of(factory)
    factory.close()


def test_of_two_writers_of_one_version_one_wins_whatever_they_remember(
    recorder: JetStreamApplicationRecorder, another: JetStreamApplicationRecorder
) -> None:
    book = uuid4()
    recorder.insert_events([event(book, 1)])
    another.insert_events([event(book, 2, b'{"by":"another"}')])
    with pytest.raises(IntegrityError):
        recorder.insert_events([event(book, 2)])
    recorder.insert_events([event(book, 3)])
    with pytest.raises(IntegrityError):
        another.insert_events([event(book, 3)])
    assert [one.originator_version for one in another.select_events(book)] == [1, 2, 3]


def test_many_writers_of_one_aggregate_leave_dense_versions(
    recorder: JetStreamApplicationRecorder, another: JetStreamApplicationRecorder
) -> None:
    book, rounds = uuid4(), 20

    def write(writer: int) -> list[int]:
        mine = recorder if writer % 2 else another
        won = []
        for version in range(1, rounds + 1):
            try:
                mine.insert_events([event(book, version, json.dumps({"writer": writer}).encode())])
            except IntegrityError:
                continue
            won.append(version)
        return won

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(write, range(6)))
    assert sorted(version for versions in won for version in versions) == list(range(1, rounds + 1))
    stored = recorder.select_events(book)
    assert [one.originator_version for one in stored] == list(range(1, rounds + 1))
    assert all(one.originator_version in won[json.loads(one.state)["writer"]] for one in stored)


def test_a_conflict_on_one_aggregate_stores_nothing_of_the_others(recorder: JetStreamApplicationRecorder) -> None:
    known, new = uuid4(), uuid4()
    recorder.insert_events([event(known, 1)])
    with pytest.raises(IntegrityError):
        recorder.insert_events([event(new, 1), event(known, 1)])
    assert recorder.select_events(new) == []
    assert recorder.max_notification_id() == 1


def test_a_version_whose_predecessor_is_missing_is_refused(recorder: JetStreamApplicationRecorder) -> None:
    book = uuid4()
    recorder.insert_events([event(book, 1)])
    with pytest.raises(IntegrityError, match="cannot follow"):
        recorder.insert_events([event(book, 3)])


def test_snapshots_come_in_any_order_and_the_newest_version_is_found(factory: JetStreamFactory) -> None:
    snapshots, book = factory.aggregate_recorder(purpose="snapshots"), uuid4()
    snapshots.insert_events([event(book, 20)])
    snapshots.insert_events([event(book, 10)])
    with pytest.raises(IntegrityError):
        snapshots.insert_events([event(book, 20)])
    assert [one.originator_version for one in snapshots.select_events(book, desc=True, limit=1)] == [20]
    assert [one.originator_version for one in snapshots.select_events(book, desc=True, limit=1, lte=15)] == [10]


def test_what_another_process_stored_is_seen_behind_a_remembered_version(
    recorder: JetStreamApplicationRecorder, another: JetStreamApplicationRecorder
) -> None:
    book = uuid4()
    recorder.insert_events([event(book, 1), event(book, 2)])
    assert [one.originator_version for one in recorder.select_events(book, gt=1)] == [2]
    another.insert_events([event(book, 3)])
    assert [one.originator_version for one in recorder.select_events(book, gt=2)] == [3]
    assert [one.originator_version for one in recorder.select_events(book, gt=1)] == [2, 3]


def test_pages_of_notifications_join_without_a_gap(recorder: JetStreamApplicationRecorder) -> None:
    for _ in range(3):
        book = uuid4()
        recorder.insert_events([event(book, 1 + n, topic="odd" if n % 2 else "even") for n in range(500)])
    assert [one.id for one in recorder.select_notifications(None, 2_000)] == list(range(1, 1_501))
    assert [one.id for one in recorder.select_notifications(1_100, 300)] == list(range(1_100, 1_400))
    assert [one.id for one in recorder.select_notifications(1, 600, topics=["odd"])] == list(range(2, 1_201, 2))
    assert [one.id for one in recorder.select_notifications(1, 9, stop=1_001, topics=["none"])] == []


def test_more_than_a_batch_holds_is_refused_whole(recorder: JetStreamApplicationRecorder) -> None:
    book = uuid4()
    with pytest.raises(DataError):
        recorder.insert_events([event(book, version) for version in range(1, 1_002)])
    with pytest.raises(DataError):
        recorder.insert_events([event(book, 1, b"x" * 2_000_000)])
    assert recorder.max_notification_id() is None


def test_what_is_no_event_is_a_data_error(nats_server: NatsServer, recorder: JetStreamApplicationRecorder) -> None:
    text = factory_of(nats_server, ORIGINATOR_ID_TYPE="text")
    try:
        writer = recorder_of(text)
        with pytest.raises(DataError):
            writer.select_events("")
        with pytest.raises(DataError):
            writer.insert_events([event("", 1)])
        writer.insert_events([event("not a uuid", 1)])
        with pytest.raises(DataError):
            recorder.select_notifications(None, 10)
        with recorder.subscribe() as subscription, pytest.raises(DataError):
            next(subscription)
    finally:
        text.close()


def test_a_subscription_follows_with_bounded_memory_and_waits_for_what_comes(
    recorder: JetStreamApplicationRecorder, another: JetStreamApplicationRecorder
) -> None:
    for _ in range(6):
        book = uuid4()
        recorder.insert_events([event(book, version) for version in range(1, 1_001)])
    got: list[int] = []
    insertion = threading.Timer(0.05, another.insert_events, [[event(uuid4(), 1)]])
    with recorder.subscribe(gt=100) as subscription:
        for notification in subscription:
            got.append(notification.id)
            if len(got) == 5_900:
                insertion.start()
            if len(got) == 5_901:
                break
    # The subscription may deliver an event before the thread that inserted it has its acknowledgement.
    insertion.join()
    assert got == list(range(101, 6_002))


def test_a_subscription_that_waits_is_stopped_from_another_thread(recorder: JetStreamApplicationRecorder) -> None:
    with recorder.subscribe() as subscription:
        stopping = threading.Timer(0.1, subscription.stop)
        stopping.start()
        assert list(subscription) == []
        stopping.join()


def test_a_closed_factory_ends_its_subscriptions_and_refuses_everything(
    factory: JetStreamFactory, recorder: JetStreamApplicationRecorder
) -> None:
    with recorder.subscribe() as subscription:
        closing = threading.Timer(0.1, factory.close)
        closing.start()
        with pytest.raises((InterfaceError, OperationalError)):
            next(subscription)
        closing.join()
    with pytest.raises(InterfaceError):
        recorder.max_notification_id()
    with pytest.raises(InterfaceError):
        recorder.insert_events([event(uuid4(), 1)])
    assert [thread.name for thread in threading.enumerate() if "event store of Library" in thread.name] == []
    assert recorder_of(factory).max_notification_id() is None


def test_a_factory_that_is_dropped_closes_by_itself(nats_server: NatsServer) -> None:
    recorder_of(factory_of(nats_server)).insert_events([event(uuid4(), 1)])
    assert [thread.name for thread in threading.enumerate() if "event store of Library" in thread.name] == []


async def test_a_subscription_outlives_a_restart_of_the_server(nats_server: NatsServer) -> None:
    factory = factory_of(nats_server, NATS_TIMEOUT="20")
    try:
        recorder = await asyncio.to_thread(recorder_of, factory)
        await asyncio.to_thread(recorder.insert_events, [event(uuid4(), 1)])
        with recorder.subscribe() as subscription:
            first: Notification = await asyncio.to_thread(next, subscription)
            nats_server.kill()
            await nats_server.wait()
            waiting = asyncio.create_task(asyncio.to_thread(next, subscription))
            await nats_server.start()
            await asyncio.to_thread(recorder.insert_events, [event(uuid4(), 1)])
            assert (first.id, (await waiting).id) == (1, 2)
    finally:
        await asyncio.to_thread(factory.close)


async def test_a_server_that_is_gone_is_an_operational_error_within_bounds(nats_server: NatsServer) -> None:
    factory = factory_of(nats_server, NATS_TIMEOUT="0.5")
    try:
        recorder = await asyncio.to_thread(recorder_of, factory)
        await nats_server.stop()
        for work in (
            lambda: recorder.insert_events([event(uuid4(), 1)]),
            lambda: recorder.select_events(uuid4()),
            recorder.max_notification_id,
        ):
            with pytest.raises(OperationalError):
                await asyncio.to_thread(work)
        with pytest.raises(OperationalError, match="accepted no connection"):
            await asyncio.to_thread(factory_of(nats_server, NATS_TIMEOUT="0.3").application_recorder)
    finally:
        await asyncio.to_thread(factory.close)


def test_a_missing_stream_is_not_created_when_that_is_switched_off(nats_server: NatsServer) -> None:
    factory = factory_of(nats_server, CREATE_TABLE="no", NATS_TIMEOUT="0.5")
    try:
        with pytest.raises(OperationalError):
            factory.application_recorder().insert_events([event(uuid4(), 1)])
    finally:
        factory.close()


async def test_vestniks_own_streams_are_read_as_stored_events_and_never_remade(
    nats_server: NatsServer, streams: Client
) -> None:
    anna, ben = str(uuid4()), str(uuid4())
    pair = pair_id(anna, ben)
    expected = 0
    for version, kind in enumerate((FriendshipCreated, FriendshipAccepted), 1):
        sealed = envelope.seal(
            kind(requester_id=anna, addressee_id=ben), aggregate_id=pair, version=version, provenance=Provenance()
        )
        append = Append(subject=friendship(pair), expected=expected, envelope=sealed)
        expected = await Log(streams).append(append)
    settings = {"NATS_STREAM": CONTACT, "NATS_SUBJECT_PREFIX": "vestnik.contact.friendship"}
    factory, bold = factory_of(nats_server, CREATE_TABLE="no", **settings), factory_of(nats_server, **settings)
    try:
        recorder = await asyncio.to_thread(recorder_of, factory)
        stored = await asyncio.to_thread(recorder.select_events, UUID(pair))
        assert [(one.topic, one.originator_version) for one in stored] == [
            ("friendship.created", 1),
            ("friendship.accepted", 2),
        ]
        assert json.loads(stored[0].state) == {"requester_id": anna, "addressee_id": ben}
        assert [one.id for one in await asyncio.to_thread(recorder.select_notifications, None, 5)] == [1, 2]
        with pytest.raises(ProgrammingError, match="subjects"):
            await asyncio.to_thread(bold.application_recorder)
    finally:
        await asyncio.to_thread(factory.close)
        await asyncio.to_thread(bold.close)


def test_the_servers_may_be_named_as_the_services_of_vestnik_name_them(nats_server: NatsServer) -> None:
    factory = JetStreamFactory(Environment("Library", {"VESTNIK_NATS_URL": nats_server.url}))
    recorder = recorder_of(factory)
    recorder.insert_events([event(uuid4(), 1)])
    assert recorder.max_notification_id() == 1
    factory.close()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "NATS_URL"),
        ({"NATS_URL": "nats://localhost", "NATS_REPLICAS": "many"}, "NATS_REPLICAS"),
        ({"NATS_URL": "nats://localhost", "NATS_TIMEOUT": "0"}, "NATS_TIMEOUT"),
        ({"NATS_URL": "nats://localhost", "ORIGINATOR_ID_TYPE": "number"}, "ORIGINATOR_ID_TYPE"),
    ],
)
def test_a_setting_that_is_missing_or_cannot_be_is_named(settings: dict[str, str], word: str) -> None:
    with pytest.raises(OSError, match=word):
        InfrastructureFactory.construct(Environment("Library", {"PERSISTENCE_MODULE": "streams.recorder"} | settings))
