"""The words of messages, for the search in one's own messages; and which conversations are open to whom.

`contracts/values/text_words.py` defines the words; a change there needs a new version here. PostgreSQL adds the word
forms: the stems of its configuration `russian`, which stems words in Latin letters as English ones. CONTACT alone
determines who may search a conversation, MESSAGING alone its messages, so the two streams may be read in any order.
"""

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import MessageChange, MessageDeleted, MessageEdited, MessageSent
from contracts.subjects import AUTH, CONTACT, MESSAGING
from contracts.values.ids import pair_id
from contracts.values.text_words import index_words
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class MessageSearch(ErasingProjection):
    version = 2
    streams = (MESSAGING, CONTACT, AUTH)
    # A search waits for the position of its caller. Larger batches cost a send less.
    rest_seconds = 1.0
    tables = (
        """
        CREATE TABLE {members} (
            user_id uuid,
            conversation_id uuid,
            -- the other person
            peer_id uuid,
            -- whether the user may read the conversation now
            open boolean NOT NULL DEFAULT false,
            PRIMARY KEY (user_id, conversation_id)
        );
        CREATE TABLE {message_search} (
            conversation_id uuid,
            sequence bigint,
            sender_id uuid,
            recipient_id uuid,
            -- of message.sent, in MESSAGING
            stream_sequence bigint,
            -- the words in their order, separated by spaces
            folded text COLLATE "C",
            -- the same words and their stems, without positions of the former
            words tsvector GENERATED ALWAYS AS (
                array_to_tsvector(string_to_array(folded, ' ')) || to_tsvector('pg_catalog.russian', folded)
            ) STORED,
            PRIMARY KEY (conversation_id, sequence)
        );
        -- A user's newest messages, which contain most of what is searched for.
        CREATE INDEX ON {message_search} (sender_id, stream_sequence);
        CREATE INDEX ON {message_search} (recipient_id, stream_sequence);
        -- Rare words, of one conversation or of all of a user's.
        CREATE INDEX ON {message_search} USING gin ((ARRAY[conversation_id, sender_id, recipient_id]), words)
            -- every search reads the pending list
            WITH (gin_pending_list_limit = 256);
        """
        + ERASED_USERS
    )
    erasures = ("UPDATE {message_search} SET folded = '' WHERE sender_id = ANY(%(users)s) AND folded <> ''",)

    @handles(FriendshipAccepted)
    def opened(self, event: Recorded[FriendshipAccepted], write: RowChanges) -> None:
        _set_open(write, event.data.requester_id, event.data.addressee_id, is_open=True)

    @handles(FriendshipRemoved)
    def closed(self, event: Recorded[FriendshipRemoved], write: RowChanges) -> None:
        _set_open(write, event.data.remover_id, event.data.other_id, is_open=False)

    @handles(MessageSent)
    def sent(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        message = event.data
        write.insert(
            "message_search",
            key={"conversation_id": event.aggregate_id, "sequence": message.sequence},
            set={
                "sender_id": message.sender_id,
                "recipient_id": message.recipient_id,
                "stream_sequence": event.sequence,
            },
            # If this event is applied late, the message may have been edited or deleted.
            first={"folded": _folded(message.text)},
        )

    @handles(MessageEdited)
    def edited(self, event: Recorded[MessageEdited], write: RowChanges) -> None:
        _replace_words(write, event.data, _folded(event.data.text))

    @handles(MessageDeleted)
    def deleted(self, event: Recorded[MessageDeleted], write: RowChanges) -> None:
        _replace_words(write, event.data, "")


def _folded(text: str) -> str:
    return " ".join(index_words(text))


def _replace_words(write: RowChanges, message: MessageChange, folded: str) -> None:
    write.upsert(
        "message_search",
        key={"conversation_id": message.conversation_id, "sequence": message.sequence},
        set={"folded": folded},
        first={"sender_id": message.sender_id},
    )


def _set_open(write: RowChanges, one: str, other: str, *, is_open: bool) -> None:
    for user_id, peer_id in ((one, other), (other, one)):
        write.upsert(
            "members",
            key={"user_id": user_id, "conversation_id": pair_id(one, other)},
            set={"peer_id": peer_id, "open": is_open},
        )
