"""A projection for tests: the number of messages, the last text and the seen mark per conversation, and all texts."""

from contracts.envelope import Recorded
from contracts.events.message import MessageSeen, MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, handles

POISON = "poison for the handler"


class Letters(Projection):
    version = 1
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {letters} (
            conversation_id uuid PRIMARY KEY,
            messages bigint NOT NULL DEFAULT 0,
            last_text text,
            last_sequence bigint,
            seen bigint
        );
        CREATE TABLE {texts} (
            conversation_id uuid,
            sequence bigint,
            text text NOT NULL CHECK (text <> 'poison for the table'),
            PRIMARY KEY (conversation_id, sequence)
        );
        CREATE INDEX ON {texts} (text)
    """

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        text = event.data.text
        write.upsert(
            "letters",
            key={"conversation_id": event.aggregate_id},
            set={"last_text": text},
            add={"messages": 1},
            greatest={"last_sequence": event.sequence},
        )
        if text == POISON:
            raise ValueError(text)
        write.insert(
            "texts", key={"conversation_id": event.aggregate_id, "sequence": event.data.sequence}, set={"text": text}
        )

    @handles(MessageSeen)
    def seen(self, event: Recorded[MessageSeen], write: RowChanges) -> None:
        write.upsert(
            "letters", key={"conversation_id": event.data.conversation_id}, greatest={"seen": event.data.sequence}
        )
