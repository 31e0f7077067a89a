"""Events of one conversation: messages, edits, reactions, marks, and the friendship before them."""

from typing import Any

from contracts import subjects
from contracts.envelope import now
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated
from contracts.events.message import MessageDeleted, MessageEdited, MessageSeen, MessageSent, ReactionChanged, RepliedTo
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from tests.integration.projections.event_writer import Writer

ANNA, BEN, CARL = new_id(), new_id(), new_id()
PAIR = pair_id(ANNA, BEN)
# What JSON, the database and the program that joins items could each get wrong.
TEXTS = (
    'say "hi"',
    "back\\slash",
    "tab\tnew\nline\r",
    "\x01\x1f\x7f",
    "Привет \U0001f600 \u2028",
    "{[,]}",
    "'",
    "%s {x}",
)


async def befriend(writer: Writer, one: str = ANNA, other: str = BEN) -> Position:
    subject = subjects.friendship(pair_id(one, other))
    asked = FriendshipCreated(requester_id=one, addressee_id=other)
    accepted = FriendshipAccepted(requester_id=one, addressee_id=other)
    return Position.at(CONTACT, await writer.append(subject, asked, accepted))


def message_id(sequence: int) -> str:
    return f"00000000-0000-7000-8000-{sequence:012}"


async def say(writer: Writer, sequence: int, text: str, *, sender: str = ANNA, reply_to: int | None = None) -> Position:
    quote = RepliedTo(message_id=message_id(reply_to), sequence=reply_to, sender_id=ANNA) if reply_to else None
    message = MessageSent(
        message_id=message_id(sequence),
        sender_id=sender,
        recipient_id=BEN if sender == ANNA else ANNA,
        sequence=sequence,
        text=text,
        client_message_id=str(sequence),
        reply_to=quote,
    )
    return Position.at(MESSAGING, await writer.append(subjects.conversation(PAIR), message))


async def edit(writer: Writer, sequence: int, text: str | None) -> Position:
    """Gives the message another text; deletes it if there is none."""
    message: dict[str, Any] = {
        "message_id": message_id(sequence),
        "conversation_id": PAIR,
        "sequence": sequence,
        "sender_id": ANNA,
        "sent_at": now(),
        "members": (ANNA, BEN),
    }
    event = MessageDeleted(**message) if text is None else MessageEdited(text=text, **message)
    return Position.at(MESSAGING, await writer.append(subjects.message(message_id(sequence)), event))


async def react(writer: Writer, sequence: int, emoji: str | None, *, user_id: str = BEN) -> Position:
    changed = ReactionChanged(
        message_id=message_id(sequence),
        conversation_id=PAIR,
        sequence=sequence,
        sender_id=ANNA,
        sent_at=now(),
        members=(ANNA, BEN),
        user_id=user_id,
        emoji=emoji,
    )
    return Position.at(MESSAGING, await writer.append(subjects.message(message_id(sequence)), changed))


async def mark(writer: Writer, sequence: int, *, reader: str = BEN) -> Position:
    peer = ANNA if reader == BEN else BEN
    seen = MessageSeen(conversation_id=PAIR, reader_id=reader, peer_id=peer, sequence=sequence)
    return Position.at(MESSAGING, await writer.append(subjects.read_mark(PAIR, reader), seen))
