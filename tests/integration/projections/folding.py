"""Messages to fold, what a build makes of them, and an operator of its dead letters."""

from datetime import UTC, datetime, timedelta

from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, encode, seal
from contracts.events.event import Event
from contracts.subjects import MESSAGING
from projections.engine import Projection
from projections.engine.dead_letters import resolution
from projections.engine.storage.builds import Build, Connection
from streams.log import Log
from streams.message import Message
from tests.integration.projections.event_writer import conversation_ids, sent
from tests.integration.projections.sample_folds import Tallies

CONVERSATIONS = conversation_ids(3)
BEGINNING = datetime(2026, 1, 31, 12, tzinfo=UTC)


def message(sequence: int, subject: str, event: Event, aggregate_id: str = "") -> Message:
    envelope = seal(
        event,
        aggregate_id=aggregate_id or subject.rpartition(".")[2],
        version=1,
        provenance=Provenance(),
        at=BEGINNING + timedelta(seconds=sequence),
    )
    return Message(stream=MESSAGING, sequence=sequence, subject=subject, payload=encode(envelope))


def said(*texts: tuple[str, str]) -> list[Message]:
    """Messages with the conversation and text of each."""
    return [
        message(sequence, subjects.conversation(conversation), sent(text, sequence))
        for sequence, (conversation, text) in enumerate(texts, start=1)
    ]


async def dead_letters(conn: Connection, build: Build) -> list[tuple[object, ...]]:
    cursor = await conn.execute(
        "SELECT sequence, state FROM projection_dead_letters WHERE (projection, version, build) = (%s, %s, %s)"
        " ORDER BY sequence",
        build.id,
    )
    return await cursor.fetchall()


TALLIES = "SELECT conversation_id::text, messages, texts, note, last_at FROM {} ORDER BY conversation_id"


class Operator:
    """Retries and discards of the projection's dead letters."""

    def __init__(self, conn: Connection, nc: Client, projection: type[Projection] = Tallies) -> None:
        self._conn = conn
        self._log = Log(nc)
        self._projection = projection

    async def retry(self) -> list[tuple[str, int, int]]:
        heads = await resolution.first_failures(self._conn, self._projection)
        retried = [await resolution.retry(self._conn, self._log, self._projection, head) for head in heads]
        return [(result.outcome, result.applied, result.left) for result in retried]

    async def discard(self) -> None:
        (head,) = await resolution.first_failures(self._conn, self._projection)
        await resolution.discard(self._conn, self._log, head, "it was a test", "an operator")
        await resolution.retry(self._conn, self._log, self._projection, head)
