"""How long after they had become friends two people first wrote to each other."""

from datetime import datetime

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSent
from contracts.subjects import CONTACT, MESSAGING
from projections.engine import Projection, RowChanges, handles


class FirstMessages(Projection):
    version = 1
    # The service that owns the first one runs it.
    streams = (MESSAGING, CONTACT)
    tables = """
        CREATE TABLE {first_messages} (
            -- The friendship and the conversation of two people have the same id.
            conversation_id uuid PRIMARY KEY,
            one_id uuid NOT NULL,
            other_id uuid NOT NULL,
            friends_at timestamptz,
            written_at timestamptz,
            -- NULL until they have written.
            seconds bigint GENERATED ALWAYS AS (floor(extract(epoch FROM written_at - friends_at))) STORED
        );
        CREATE INDEX ON {first_messages} (one_id, seconds);
        CREATE INDEX ON {first_messages} (other_id, seconds);
    """

    @handles(FriendshipAccepted)
    def accepted(self, event: Recorded[FriendshipAccepted], write: RowChanges) -> None:
        people = event.data.requester_id, event.data.addressee_id
        _first(write, event.aggregate_id, people, "friends_at", event.at)

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        people = event.data.sender_id, event.data.recipient_id
        _first(write, event.aggregate_id, people, "written_at", event.at)


def _first(write: RowChanges, conversation_id: str, people: tuple[str, str], column: str, at: datetime) -> None:
    """Keeps the earliest time, in whatever order the two streams are read."""
    one_id, other_id = sorted(people)
    write.upsert(
        "first_messages",
        key={"conversation_id": conversation_id},
        set={"one_id": one_id, "other_id": other_id},
        least={column: at},
    )
