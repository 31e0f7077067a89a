"""One statement writes all conversations of a batch, whether a user sent a message, read or reacted in them."""

import random

from contracts.envelope import Provenance, now, open_event, seal
from contracts.events.event import Event
from contracts.events.message import MessageSeen, MessageSent, ReactionChanged
from contracts.values.ids import new_id, pair_id
from projections.conversations import Conversations
from projections.engine import RowChanges
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows
from projections.engine.storage.tables import Table

SEQUENCES = frozenset({"last_sequence", "seen_sequence", "peer_seen_sequence", "stream_sequence"})
TABLE = Table(
    "conversations",
    "conversations_v1_b1",
    ("user_id", "peer_id"),
    {
        "user_id": "uuid",
        "peer_id": "uuid",
        "conversation_id": "uuid",
        "last_sent_at": "timestamp with time zone",
        **dict.fromkeys(SEQUENCES, "bigint"),
    },
    defaults=SEQUENCES,
    zero_defaults=SEQUENCES,
)
ANNA, BORIS, CARLA = new_id(), new_id(), new_id()
PAIRS = [(ANNA, BORIS), (BORIS, ANNA), (ANNA, CARLA), (CARLA, BORIS)]


def events(choice: random.Random) -> list[Event]:
    happened: list[Event] = []
    for sequence in range(1, 30):
        one, other = choice.choice(PAIRS)
        message = MessageSent(
            message_id=new_id(), sender_id=one, recipient_id=other, sequence=sequence, text="-", client_message_id="-"
        )
        mark = MessageSeen(conversation_id=pair_id(one, other), reader_id=one, peer_id=other, sequence=sequence)
        reaction = ReactionChanged(
            message_id=new_id(),
            conversation_id=pair_id(one, other),
            sequence=sequence,
            sender_id=one,
            sent_at=now(),
            members=(one, other),
            user_id=one,
            emoji="👍",
        )
        happened.append(choice.choice([message, mark, reaction]))
    return happened


def test_a_batch_writes_its_conversations_with_one_statement() -> None:
    handlers = Conversations().handlers()
    for seed in range(20):
        rows = MergedRows(Shapes({"conversations": TABLE}))
        for number, event in enumerate(events(random.Random(seed)), 1):
            envelope = seal(event, aggregate_id=new_id(), version=1, provenance=Provenance())
            recorded = open_event(envelope, stream="MESSAGING", sequence=number, subject="-")
            write = RowChanges()
            for handler in handlers[event.TYPE]:
                handler(recorded, write)
            rows.merge([change for change in write.changes if change[1] == "conversations"], event.TYPE)
        assert len(rows.groups()) == 1
