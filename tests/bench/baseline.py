"""The same work done by the `eventsourcing` library on PostgreSQL, as its documentation shows it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from contracts.values.ids import new_id
from tests.bench.events import texts

_SECTION = 1_000


class Conversation(Aggregate):
    @event("Started")
    def __init__(self, sender_id: str, recipient_id: str) -> None:
        self.sender_id = sender_id
        self.recipient_id = recipient_id
        self.sequence = 0

    @event("Sent")
    def send(
        self, message_id: str, sender_id: str, recipient_id: str, sequence: int, text: str, client_message_id: str
    ) -> None:
        self.sequence = sequence


@contextmanager
def application(database_url: str) -> Iterator[Application[UUID]]:
    """The library's application with its cache of aggregates on."""
    url = urlsplit(database_url)
    app: Application[UUID] = Application(
        {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": url.path[1:],
            "POSTGRES_HOST": str(url.hostname),
            "POSTGRES_PORT": str(url.port),
            "POSTGRES_USER": str(url.username),
            "POSTGRES_PASSWORD": url.password or "unused",
            "POSTGRES_POOL_SIZE": "16",
            "AGGREGATE_CACHE_MAXSIZE": "1000",
        }
    )
    try:
        yield app
    finally:
        app.close()


def seed(app: Application[UUID], count: int, events_a_conversation: int = 10) -> None:
    """Stores the given number of events."""
    lines = texts()
    number = 0
    while number < count:
        stored = []
        for _ in range(500):
            one = Conversation(new_id(), new_id())
            for version in range(1, events_a_conversation):
                _send(one, version, lines[number % len(lines)])
                number += 1
            number += 1
            stored += [app.mapper.to_stored_event(event) for event in one.collect_events()]
        app.recorder.insert_events(stored)


def read(app: Application[UUID], count: int) -> float:
    """Reads events through the library's mapper; returns events per second."""
    begin, last = time.perf_counter(), 0
    while last < count:
        notifications = app.recorder.select_notifications(start=last, limit=_SECTION, inclusive_of_start=False)
        for notification in notifications:
            app.mapper.to_domain_event(notification)
        last = int(notifications[-1].id)
    return count / (time.perf_counter() - begin)


def command(app: Application[UUID], identity: UUID, text: str) -> None:
    """Load, decide, append."""
    one: Conversation = app.repository.get(identity)
    _send(one, one.sequence + 1, text)
    app.save(one)


def commands(app: Application[UUID], count: int, threads: int, aggregates: int = 500) -> float:
    """Runs commands from several threads, each with aggregates of its own; returns commands per second."""
    identities = [[_started(app) for _ in range(aggregates // threads)] for _ in range(threads)]
    lines = texts()

    def work(own: list[UUID]) -> None:
        for number in range(count // threads):
            command(app, own[number % len(own)], lines[number % len(lines)])

    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        list(pool.map(work, identities))
        return count / (time.perf_counter() - begin)


def _started(app: Application[UUID]) -> UUID:
    one = Conversation(str(uuid4()), str(uuid4()))
    app.save(one)
    return one.id


def _send(one: Conversation, sequence: int, text: str) -> None:
    one.send(new_id(), one.sender_id, one.recipient_id, sequence, text, new_id())
