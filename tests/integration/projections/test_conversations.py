"""Conversations out of what was said and who are friends, whichever of the two is read first."""

from typing import Any

from contracts.envelope import now
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import MessageDeleted, MessageEdited, MessageSeen, MessageSent, ReactionChanged
from contracts.values.ids import new_id, pair_id
from projections.conversations import Conversations
from tests.fix_read_models import BEGINNING, OpenReadModel

ANNA, BORIS = new_id(), new_id()
MARKS = """
    SELECT user_id, open, last_sequence, last_sequence - seen_sequence AS unread, peer_seen_sequence
    FROM {conversations} ORDER BY user_id = '{anna}' DESC
""".replace("{anna}", ANNA)


def said(sender: str, recipient: str, sequence: int) -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=sender,
        recipient_id=recipient,
        sequence=sequence,
        text="text",
        client_message_id=str(sequence),
    )


async def test_both_see_the_same_conversation_from_their_side(read_model: OpenReadModel) -> None:
    model = await read_model(Conversations)
    friends = FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS)
    await model.given(friends, said(ANNA, BORIS, 1), said(ANNA, BORIS, 2), said(ANNA, BORIS, 3))
    assert await model.rows(MARKS) == [(ANNA, True, 3, 0, 0), (BORIS, True, 3, 3, 3)]
    seen = MessageSeen(conversation_id=pair_id(ANNA, BORIS), reader_id=BORIS, peer_id=ANNA, sequence=2)
    await model.when(seen)
    assert await model.rows(MARKS) == [(ANNA, True, 3, 0, 2), (BORIS, True, 3, 1, 3)]
    # Whoever answers has seen what came before.
    await model.when(said(BORIS, ANNA, 4))
    assert await model.rows(MARKS) == [(ANNA, True, 4, 1, 4), (BORIS, True, 4, 0, 3)]


async def test_a_conversation_closes_and_opens_with_the_friendship(read_model: OpenReadModel) -> None:
    model = await read_model(Conversations)
    friends = FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS)
    await model.given(friends, said(ANNA, BORIS, 1))
    await model.when(FriendshipRemoved(remover_id=BORIS, other_id=ANNA))
    # It had been on its way when the friendship ended.
    await model.when(said(ANNA, BORIS, 2))
    assert await model.rows(MARKS) == [(ANNA, False, 2, 0, 0), (BORIS, False, 2, 2, 2)]
    await model.when(FriendshipAccepted(requester_id=BORIS, addressee_id=ANNA))
    assert await model.rows(MARKS) == [(ANNA, True, 2, 0, 0), (BORIS, True, 2, 2, 2)]


async def test_a_reaction_may_be_applied_before_its_message(read_model: OpenReadModel) -> None:
    model = await read_model(Conversations)
    await model.given(FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS))
    message = said(ANNA, BORIS, 1)
    for user_id, emoji in ((BORIS, "👍"), (ANNA, "👍"), (BORIS, "❤️"), (ANNA, None)):
        reaction = ReactionChanged(
            message_id=message.message_id,
            conversation_id=pair_id(ANNA, BORIS),
            sequence=1,
            sender_id=ANNA,
            sent_at=now(),
            members=(ANNA, BORIS),
            user_id=user_id,
            emoji=emoji,
        )
        await model.when(reaction, of=message.message_id)
    assert await model.rows("SELECT message_id, reacted FROM {messages}") == [(None, True)]
    await model.when(message)
    assert await model.rows("SELECT message_id, reacted FROM {messages}") == [(message.message_id, True)]
    assert await model.rows("SELECT user_id, emoji FROM {reactions} ORDER BY stream_sequence") == [
        (BORIS, "❤️"),
        (ANNA, None),
    ]
    assert await model.rows("SELECT DISTINCT stream_sequence, last_sequence FROM {conversations}") == [(5, 1)]
    deletion = MessageDeleted(
        message_id=message.message_id,
        conversation_id=pair_id(ANNA, BORIS),
        sequence=1,
        sender_id=ANNA,
        sent_at=now(),
        members=(ANNA, BORIS),
    )
    await model.when(deletion, of=message.message_id)
    assert await model.rows("SELECT DISTINCT emoji FROM {reactions}") == [(None,)]


MESSAGES = """
    SELECT sequence, sender_id, text, edited_at IS NOT NULL, deleted, stream_sequence, changed_sequence
    FROM {messages} ORDER BY sequence
"""
POSITIONS = "SELECT stream_sequence, last_sequence, seen_sequence, peer_seen_sequence FROM {conversations} ORDER BY 3"


def change(message: MessageSent) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "conversation_id": pair_id(ANNA, BORIS),
        "sequence": message.sequence,
        "sender_id": message.sender_id,
        "sent_at": BEGINNING,
        "members": (ANNA, BORIS),
    }


async def test_a_message_has_its_last_text_until_it_is_deleted(read_model: OpenReadModel) -> None:
    model = await read_model(Conversations)
    one, other = said(ANNA, BORIS, 1), said(BORIS, ANNA, 2)
    # All but the last in one batch.
    await model.given(one, other, MessageEdited(text="b", **change(one)), MessageEdited(text="c", **change(one)))
    assert await model.rows(MESSAGES) == [(1, ANNA, "c", True, None, 1, 4), (2, BORIS, "text", False, None, 2, None)]
    await model.when(MessageEdited(text="d", **change(other)), MessageDeleted(**change(one)))
    assert await model.rows(MESSAGES) == [(1, ANNA, "", False, True, 1, 6), (2, BORIS, "d", True, None, 2, 5)]
    # Pages are valid until the conversation's next event; what was seen stays as it was.
    assert await model.rows(POSITIONS) == [(6, 2, 1, 2), (6, 2, 2, 1)]


async def test_what_happened_to_a_message_counts_although_it_is_applied_later(read_model: OpenReadModel) -> None:
    model = await read_model(Conversations)
    one, other = said(ANNA, BORIS, 1), said(ANNA, BORIS, 2)
    await model.when(MessageEdited(text="b", **change(one)), MessageDeleted(**change(other)))
    assert await model.rows(MESSAGES) == [(1, ANNA, "b", True, None, None, 1), (2, ANNA, "", False, True, None, 2)]
    await model.when(one, other)
    assert await model.rows(MESSAGES) == [(1, ANNA, "b", True, None, 3, 1), (2, ANNA, "", False, True, 4, 2)]
