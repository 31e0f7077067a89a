"""By which words a message is found, and who may search it, after any order of events."""

from datetime import UTC, datetime

from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import MessageDeleted, MessageEdited, MessageSent
from contracts.values.ids import new_id, pair_id
from projections.message_search import MessageSearch
from tests.fix_read_models import OpenReadModel

ANNA, BORIS = new_id(), new_id()
PAIR = pair_id(ANNA, BORIS)
SENT_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
WORDS = "SELECT sequence, sender_id, tsvector_to_array(words) FROM {message_search} ORDER BY sequence"
MEMBERS = "SELECT user_id, conversation_id, peer_id, open FROM {members} ORDER BY user_id"


def message(sequence: int, text: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=ANNA,
        recipient_id=BORIS,
        sequence=sequence,
        text=text,
        client_message_id=str(sequence),
    )


def edited(sent: MessageSent, text: str) -> MessageEdited:
    return MessageEdited(
        message_id=sent.message_id,
        conversation_id=PAIR,
        sequence=sent.sequence,
        sender_id=ANNA,
        sent_at=SENT_AT,
        members=(ANNA, BORIS),
        text=text,
    )


def deleted(sent: MessageSent) -> MessageDeleted:
    return MessageDeleted(
        message_id=sent.message_id,
        conversation_id=PAIR,
        sequence=sent.sequence,
        sender_id=ANNA,
        sent_at=SENT_AT,
        members=(ANNA, BORIS),
    )


async def test_a_message_has_its_words_and_their_russian_and_english_stems(read_model: OpenReadModel) -> None:
    model = await read_model(MessageSearch)
    texts: tuple[str, ...] = (
        "Новые столы, and running!",
        "去北京 🎉",
        "…",
        "ünïcode 1e5",
        "",
    )
    await model.given(*(message(sequence, text) for sequence, text in enumerate(texts, start=1)))
    assert await model.rows(WORDS) == [
        (1, ANNA, ["and", "run", "running", "нов", "новые", "стол", "столы"]),
        (2, ANNA, ["京", "北京", "去北", "🎉"]),
        (3, ANNA, []),
        (4, ANNA, ["1e5", "unicod", "unicode"]),
        (5, ANNA, []),
    ]


async def test_a_message_has_the_words_of_its_last_text_and_none_once_deleted(read_model: OpenReadModel) -> None:
    model = await read_model(MessageSearch)
    first, second = message(1, "one"), message(2, "two")
    await model.given(first, second)
    await model.when(edited(first, "three"), edited(first, "four"), of=first.message_id)
    await model.when(edited(second, "five"), deleted(second), of=second.message_id)
    assert await model.rows(WORDS) == [(1, ANNA, ["four"]), (2, ANNA, [])]


async def test_a_message_that_is_applied_after_its_changes_does_not_bring_its_text_back(
    read_model: OpenReadModel,
) -> None:
    model = await read_model(MessageSearch)
    first, second = message(1, "one"), message(2, "two")
    await model.when(edited(first, "three"), of=first.message_id)
    await model.when(deleted(second), of=second.message_id)
    assert await model.rows(WORDS) == [(1, ANNA, ["three"]), (2, ANNA, [])]
    await model.when(first, second)
    assert await model.rows(WORDS) == [(1, ANNA, ["three"]), (2, ANNA, [])]


async def test_a_conversation_is_open_to_both_as_long_as_they_are_friends(read_model: OpenReadModel) -> None:
    model = await read_model(MessageSearch)
    accepted = FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS)
    await model.given(accepted)
    assert await model.rows(MEMBERS) == sorted([(ANNA, PAIR, BORIS, True), (BORIS, PAIR, ANNA, True)])
    await model.when(FriendshipRemoved(remover_id=BORIS, other_id=ANNA))
    assert await model.rows("SELECT DISTINCT open FROM {members}") == [(False,)]
    await model.when(accepted)
    assert await model.rows("SELECT DISTINCT open FROM {members}") == [(True,)]
