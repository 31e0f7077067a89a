"""The rows of `conversations`, made by the `ProjectionRunner` of the library in a PostgreSQL view as its docs show it.

The same events, each with one statement a row and one transaction that also tracks the position.
"""

import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL

from contracts.events.message import MessageSeen, MessageSent
from tests.bench.history import Written

_TABLES = (
    """CREATE TABLE IF NOT EXISTS view_conversations (
        user_id uuid, peer_id uuid, conversation_id uuid, activity_at timestamptz,
        last_sequence bigint NOT NULL DEFAULT 0, seen_sequence bigint NOT NULL DEFAULT 0,
        peer_seen_sequence bigint NOT NULL DEFAULT 0, stream_sequence bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (user_id, peer_id))""",
    "CREATE INDEX IF NOT EXISTS view_conversations_at ON view_conversations (user_id, activity_at DESC, peer_id DESC)",
    """CREATE TABLE IF NOT EXISTS view_messages (
        conversation_id uuid, sequence bigint, message_id uuid, sender_id uuid, text text, sent_at timestamptz,
        client_message_id text COLLATE "C", stream_sequence bigint, PRIMARY KEY (conversation_id, sequence))""",
    "CREATE INDEX IF NOT EXISTS view_messages_client ON view_messages (conversation_id, client_message_id)",
    "CREATE INDEX IF NOT EXISTS view_messages_sender ON view_messages (conversation_id, sender_id, sequence)",
    "CREATE INDEX IF NOT EXISTS view_messages_place ON view_messages (conversation_id, stream_sequence)",
    """CREATE TABLE IF NOT EXISTS view_seen_marks (
        conversation_id uuid, reader_id uuid, sequence bigint, seen_at timestamptz, stream_sequence bigint,
        PRIMARY KEY (conversation_id, reader_id, sequence))""",
)
_MESSAGE = """
INSERT INTO view_messages VALUES (%(conversation)s, %(sequence)s, %(message)s, %(sender)s, %(text)s, %(at)s,
    %(client)s, %(place)s)
"""
_MARK = "INSERT INTO view_seen_marks VALUES (%(conversation)s, %(reader)s, %(sequence)s, %(at)s, %(place)s)"
_SIDE = """
INSERT INTO view_conversations AS c
    (user_id, peer_id, conversation_id, activity_at, last_sequence, seen_sequence, peer_seen_sequence, stream_sequence)
VALUES (%(user)s, %(peer)s, %(conversation)s, %(at)s, %(last)s, %(seen)s, %(peer_seen)s, %(place)s)
ON CONFLICT (user_id, peer_id) DO UPDATE SET
    activity_at = GREATEST(c.activity_at, EXCLUDED.activity_at),
    last_sequence = GREATEST(c.last_sequence, EXCLUDED.last_sequence),
    seen_sequence = GREATEST(c.seen_sequence, EXCLUDED.seen_sequence),
    peer_seen_sequence = GREATEST(c.peer_seen_sequence, EXCLUDED.peer_seen_sequence),
    stream_sequence = EXCLUDED.stream_sequence
"""


class Conversation(Aggregate):
    @event("Started")
    def __init__(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id

    class Sent(Aggregate.Event):
        message_id: str
        sender_id: str
        recipient_id: str
        sequence: int
        text: str
        client: str

    class Seen(Aggregate.Event):
        reader_id: str
        peer_id: str
        sequence: int

    @event(Sent)
    def send(self, message_id: str, sender_id: str, recipient_id: str, sequence: int, text: str, client: str) -> None:
        pass

    @event(Seen)
    def see(self, reader_id: str, peer_id: str, sequence: int) -> None:
        pass


class View(PostgresTrackingRecorder):
    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:  # noqa: ANN401 - as the library has it
        super().__init__(datastore, **kwargs)
        self.sql_create_statements += [SQL(statement).format() for statement in _TABLES]

    def write(self, statements: list[tuple[str, dict[str, object]]], tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            for statement, values in statements:
                cursor.execute(statement.encode(), values, prepare=True)
            self._insert_tracking(cursor, tracking)


class Conversations(Projection[View]):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:  # noqa: ANN401 - as the library has it
        self.view.insert_tracking(tracking)

    @process_event.register
    def sent(self, said: Conversation.Sent, tracking: Tracking) -> None:
        position = tracking.notification_id
        message = {
            "conversation": said.originator_id,
            "sequence": said.sequence,
            "message": said.message_id,
            "sender": said.sender_id,
            "text": said.text,
            "at": said.timestamp,
            "client": said.client,
            "place": position,
        }
        statements: list[tuple[str, dict[str, object]]] = [(_MESSAGE, message)]
        for user, peer, seen, peer_seen in (
            (said.sender_id, said.recipient_id, said.sequence, 0),
            (said.recipient_id, said.sender_id, 0, said.sequence),
        ):
            side = {"user": user, "peer": peer, "last": said.sequence, "seen": seen, "peer_seen": peer_seen}
            statements.append((_SIDE, message | side))
        self.view.write(statements, tracking)

    @process_event.register
    def seen(self, mark: Conversation.Seen, tracking: Tracking) -> None:
        values = {
            "conversation": mark.originator_id,
            "reader": mark.reader_id,
            "sequence": mark.sequence,
            "at": mark.timestamp,
            "place": tracking.notification_id,
        }
        statements: list[tuple[str, dict[str, object]]] = [(_MARK, values)]
        for user, peer, seen, peer_seen in (
            (mark.reader_id, mark.peer_id, mark.sequence, 0),
            (mark.peer_id, mark.reader_id, 0, mark.sequence),
        ):
            side = {"user": user, "peer": peer, "last": 0, "seen": seen, "peer_seen": peer_seen, "at": None}
            statements.append((_SIDE, values | side))
        self.view.write(statements, tracking)


def rate(database_url: str, events: list[Written]) -> float:
    """Stores the messages and marks, then has them projected: events a second."""
    env = _environment(database_url)
    with Application[UUID](env) as app:
        _seed(app, events)
        last = app.recorder.max_notification_id()
    begin = time.perf_counter()
    with ProjectionRunner(
        application_class=Application[UUID], projection_class=Conversations, view_class=View, env=env
    ) as runner:
        runner.wait(last, timeout=3_600)
        taken = time.perf_counter() - begin
    assert last is not None
    return last / taken


def _seed(app: Application[UUID], events: list[Written]) -> None:
    conversations: dict[str, Conversation] = {}
    for number, (_, aggregate, happened) in enumerate(events):
        identity = aggregate.partition(".")[0]
        one = conversations.get(identity)
        if one is None:
            one = conversations[identity] = Conversation(identity)
        if isinstance(happened, MessageSent):
            text = happened.text
            assert isinstance(text, str)
            one.send(
                happened.message_id,
                happened.sender_id,
                happened.recipient_id,
                happened.sequence,
                text,
                happened.client_message_id,
            )
        elif isinstance(happened, MessageSeen):
            one.see(happened.reader_id, happened.peer_id, happened.sequence)
        if number % 2_000 == 0 or number == len(events) - 1:
            collected = [
                app.mapper.to_stored_event(event) for one in conversations.values() for event in one.collect_events()
            ]
            app.recorder.insert_events(collected)


def _environment(database_url: str) -> dict[str, str]:
    url = urlsplit(database_url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": url.path[1:],
        "POSTGRES_HOST": str(url.hostname),
        "POSTGRES_PORT": str(url.port),
        "POSTGRES_USER": str(url.username),
        "POSTGRES_PASSWORD": url.password or "unused",
        "POSTGRES_SINGLE_ROW_TRACKING": "y",
    }
