"""The first deployed version of the projection: the number of messages per conversation."""

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles


class Talks(Projection):
    version = 1
    streams = (MESSAGING,)
    tables = "CREATE TABLE {talks} (conversation_id uuid PRIMARY KEY, messages bigint NOT NULL DEFAULT 0)"

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        write.upsert("talks", key={"conversation_id": event.aggregate_id}, add={"messages": 1})
