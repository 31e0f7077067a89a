"""The second deployed version of the projection: another column, and an index on it."""

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles


class Talks(Projection):
    version = 2
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {talks} (
            conversation_id uuid PRIMARY KEY,
            messages bigint NOT NULL DEFAULT 0,
            letters bigint NOT NULL DEFAULT 0
        );
        CREATE INDEX ON {talks} (letters);
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        letters = len(event.data.text)
        write.upsert("talks", key={"conversation_id": event.aggregate_id}, add={"messages": 1, "letters": letters})
