"""Conversations, decided on their end."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ClientMessageIdReused, MessageNotFound, NotFriends
from contracts.events.message import MessageSeen, MessageSent, NotificationRead, RepliedTo
from contracts.messages import Quote
from services.messaging.domain import (
    Conversation,
    ReadMark,
    SendMessage,
    Sent,
    check_repeat,
    check_seen,
    decide_read,
    decide_read_through,
    decide_seen,
    decide_send,
    evolve_conversation,
    evolve_read_mark,
    sent,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)


def send(text: str = "hello", client_message_id: str = "c1", sender: str = "anna") -> SendMessage:
    return SendMessage(
        message_id="m",
        sender_id=sender,
        recipient_id="anna" if sender == "ben" else "ben",
        text=text,
        client_message_id=client_message_id,
    )


def reply(sequence: int | None) -> SendMessage:
    quote = None if sequence is None else Quote(message_id="q", sequence=sequence, sender_id="ben", text="a secret")
    return msgspec.structs.replace(send(), reply_to=quote)


def sent_before(text: str) -> Sent:
    return Sent(message_id="old", sequence=3, sender_id="anna", text=text, sent_at=AT, stream_sequence=30)


def test_a_message_is_the_next_of_its_conversation() -> None:
    (event,) = decide_send(Conversation(7), send(), None)
    assert event == MessageSent(
        message_id="m", sender_id="anna", recipient_id="ben", sequence=8, text="hello", client_message_id="c1"
    )


def test_a_message_sent_before_is_not_sent_again() -> None:
    assert decide_send(Conversation(7), send(), sent_before("hello")) == ()


def test_a_client_id_stands_for_one_text() -> None:
    check_repeat(send(), sent_before("hello"), deleted=False)
    with pytest.raises(ClientMessageIdReused):
        check_repeat(send(), sent_before("something else"), deleted=False)


def test_a_text_that_is_gone_is_not_compared() -> None:
    check_repeat(send(), sent_before("something else"), deleted=True)
    check_repeat(send(), msgspec.structs.replace(sent_before(""), text=None), deleted=False)


def test_a_reply_keeps_which_message_it_answers_and_not_its_text() -> None:
    (event,) = decide_send(Conversation(7), reply(4), None)
    assert isinstance(event, MessageSent)
    assert event.reply_to == RepliedTo(message_id="q", sequence=4, sender_id="ben")
    assert sent(event, AT, 30).reply_to_sequence == 4


@pytest.mark.parametrize(("first", "again"), [(None, 4), (4, None), (4, 5)])
def test_a_client_id_stands_for_one_reply(first: int | None, again: int | None) -> None:
    earlier = msgspec.structs.replace(sent_before("hello"), reply_to_sequence=first)
    with pytest.raises(ClientMessageIdReused):
        check_repeat(reply(again), earlier, deleted=False)
    check_repeat(reply(first), earlier, deleted=False)


def test_nobody_writes_to_themselves() -> None:
    command = SendMessage(message_id="m", sender_id="anna", recipient_id="anna", text="x", client_message_id="c")
    with pytest.raises(NotFriends):
        decide_send(Conversation(), command, None)


@pytest.mark.parametrize("sequence", [1, 5])
def test_a_message_that_is_there_can_be_seen(sequence: int) -> None:
    check_seen(sequence, 5)


@pytest.mark.parametrize(("sequence", "last"), [(0, 5), (6, 5), (1, 0), (0, 0)])
def test_a_message_that_is_not_there_cannot_be_seen(sequence: int, last: int) -> None:
    with pytest.raises(MessageNotFound):
        check_seen(sequence, last)


def test_a_notification_is_read_once() -> None:
    assert decide_read(["a", "b", "a", "c"], {"a", "c", "d"}) == (NotificationRead(notification_ids=("a", "c")),)
    assert decide_read(["a"], set()) == ()


def test_all_notifications_up_to_one_are_read_by_one_event_of_the_same_size() -> None:
    assert decide_read_through("a", AT) == (NotificationRead(notification_ids=("a",), up_to=AT),)
    assert decide_read_through("a", None) == ()


@given(st.lists(st.text(max_size=2)), st.sets(st.text(max_size=2)), st.integers(0, 9), st.integers(0, 9))
def test_a_command_appends_one_event_at_most(
    notification_ids: list[str], unread: set[str], mark: int, sequence: int
) -> None:
    # A power failure may store a part of a batch of this stream: the events of one command must not be split.
    assert len(decide_read(notification_ids, unread)) <= 1
    assert len(decide_send(Conversation(mark), send(), None)) == 1
    seen = decide_seen(ReadMark(mark), conversation_id="c", reader_id="anna", peer_id="ben", sequence=sequence)
    assert len(seen) <= 1


@given(st.lists(st.integers(min_value=1, max_value=20), max_size=30))
def test_a_mark_only_moves_forward(sequences: list[int]) -> None:
    state, marks = ReadMark(), list[int]()
    for sequence in sequences:
        for event in decide_seen(state, conversation_id="c", reader_id="anna", peer_id="ben", sequence=sequence):
            assert isinstance(event, MessageSeen)
            marks.append(event.sequence)
            state = evolve_read_mark(state, event, AT)
    assert marks == sorted(set(marks))
    assert state.sequence == max(sequences, default=0)


SENDS = st.lists(
    st.tuples(st.sampled_from(["anna", "ben"]), st.sampled_from(["c1", "c2", "c3", "c4"]), st.booleans()),
    max_size=40,
)


@given(SENDS)
def test_sequences_are_dense_and_each_client_id_of_a_sender_is_one_message(
    steps: list[tuple[str, str, bool]],
) -> None:
    state = Conversation()
    used: dict[tuple[str, str], Sent] = {}
    sequences: list[int] = []
    for sender, client_message_id, other_text in steps:
        before = used.get((sender, client_message_id))
        text = "other" if other_text else "text"
        command = send(text, client_message_id, sender)
        if before is not None and before.text != text:
            with pytest.raises(ClientMessageIdReused):
                check_repeat(command, before, deleted=False)
        for event in decide_send(state, command, before):
            assert isinstance(event, MessageSent)
            sequences.append(event.sequence)
            state = evolve_conversation(state, event, AT)
            used[sender, client_message_id] = sent(event, AT, event.sequence * 10)
    assert sequences == list(range(1, len(used) + 1))
