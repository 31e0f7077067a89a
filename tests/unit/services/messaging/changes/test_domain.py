"""The sender edits a message for a time and deletes it at any time; every decision holds against what came before."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import EditWindowOver, MessageHasBeenDeleted, NotSender, TooManyChanges
from contracts.events.message import MessageChange, MessageDeleted, MessageEdited, ReactionChanged
from services.messaging.changes.domain import (
    MOST_EDITS,
    MOST_REACTION_CHANGES,
    Message,
    OriginalMessage,
    Reaction,
    decide_delete,
    decide_edit,
    decide_expire,
    decide_react,
    evolve_message,
    is_deletion,
)

SENT_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOW = SENT_AT + timedelta(hours=1)
WINDOW = timedelta(hours=48)
SENT = OriginalMessage(
    message_id="m",
    conversation_id="c",
    sequence=7,
    sender_id="anna",
    sent_at=SENT_AT,
    members=("anna", "boris"),
    text="a",
)


def edit(state: Message, text: str, user_id: str = "anna", at: datetime = NOW) -> Message:
    for event in decide_edit(state, SENT, user_id, text, at, WINDOW):
        state = evolve_message(state, event, at)
    return state


def delete(state: Message, user_id: str = "anna", at: datetime = NOW, window: timedelta | None = None) -> Message:
    for event in decide_delete(state, SENT, user_id, at, window):
        state = evolve_message(state, event, at)
    return state


def test_an_edit_says_all_that_a_reader_needs() -> None:
    assert decide_edit(Message(), SENT, "anna", "b", NOW, WINDOW) == (
        MessageEdited(
            message_id="m",
            conversation_id="c",
            sequence=7,
            sender_id="anna",
            sent_at=SENT_AT,
            members=("anna", "boris"),
            text="b",
        ),
    )
    assert edit(Message(), "b") == Message(edited_at=NOW, text="b", edits=1)


def test_the_text_that_a_message_has_is_no_edit() -> None:
    assert decide_edit(Message(), SENT, "anna", "a", NOW, WINDOW) == ()
    edited = edit(Message(), "b")
    assert decide_edit(edited, SENT, "anna", "b", NOW, WINDOW) == ()
    # Nor after the window: the answer to the edit may have been lost.
    assert decide_edit(edited, SENT, "anna", "b", SENT_AT + 2 * WINDOW, WINDOW) == ()
    assert decide_edit(edited, SENT, "anna", "a", NOW, WINDOW) != ()


def test_an_erased_text_equals_no_text() -> None:
    (edited,) = decide_edit(Message(), SENT, "anna", "b", NOW, WINDOW)
    assert isinstance(edited, MessageEdited)
    erased = evolve_message(
        Message(),
        msgspec.structs.replace(edited, text=""),
        NOW,
    )
    assert decide_edit(erased, SENT, "anna", "a", NOW, WINDOW) != ()


def test_a_message_is_edited_until_its_window_ends_and_deleted_later_too() -> None:
    assert edit(Message(), "b", at=SENT_AT + WINDOW).text == "b"
    late = SENT_AT + WINDOW + timedelta(milliseconds=1)
    with pytest.raises(EditWindowOver):
        edit(Message(), "b", at=late)
    assert delete(Message(), at=late).deleted
    with pytest.raises(EditWindowOver):
        delete(Message(), at=late, window=WINDOW)
    # A repeated deletion changes nothing.
    assert delete(Message(deleted=True), at=late, window=WINDOW).deleted


def test_a_deletion_alone_determines_the_state() -> None:
    (deletion,) = decide_delete(Message(), SENT, "anna", NOW, None)
    (edited,) = decide_edit(Message(), SENT, "anna", "b", NOW, WINDOW)
    assert (is_deletion(deletion), is_deletion(edited)) == (True, False)
    for before in (Message(), Message(edited_at=NOW, text="b", reactions={"boris": Reaction(emoji="👍")})):
        assert evolve_message(before, deletion, NOW) == Message(deleted=True)


def test_a_deletion_is_final() -> None:
    deleted = delete(edit(Message(), "b"))
    assert deleted == Message(deleted=True)
    assert decide_delete(deleted, SENT, "anna", NOW, None) == ()
    with pytest.raises(MessageHasBeenDeleted):
        edit(deleted, "c")
    with pytest.raises(MessageHasBeenDeleted):
        edit(deleted, "a")


@pytest.mark.parametrize("state", [Message(), Message(edited_at=NOW, text="b"), Message(deleted=True)])
def test_only_the_sender_changes_a_message(state: Message) -> None:
    for text in ("a", "b", "c"):
        with pytest.raises(NotSender):
            edit(state, text, user_id="boris")
    with pytest.raises(NotSender):
        delete(state, user_id="boris")


def test_a_reaction_changes_neither_text_nor_deletion() -> None:
    (deletion,) = decide_delete(Message(), SENT, "anna", NOW, None)
    assert isinstance(deletion, MessageDeleted)
    fields = {name: getattr(deletion, name) for name in MessageChange.__struct_fields__}
    reaction = ReactionChanged(user_id="boris", emoji="👍", **fields)
    for state in (Message(), Message(edited_at=NOW, text="b"), Message(deleted=True)):
        after = evolve_message(state, reaction, NOW)
        assert (after.edited_at, after.text, after.deleted) == (state.edited_at, state.text, state.deleted)


def react(state: Message, user_id: str, emoji: str | None) -> tuple[Message, int]:
    """The state afterwards, and the number of events."""
    events = decide_react(state, SENT, user_id, emoji)
    for event in events:
        state = evolve_message(state, event, NOW)
    return state, len(events)


@given(st.lists(st.tuples(st.sampled_from(["anna", "boris"]), st.sampled_from(["👍", "❤️", None])), max_size=12))
def test_a_user_has_one_reaction_and_a_repeat_is_no_event(steps: list[tuple[str, str | None]]) -> None:
    state, expected = Message(), dict[str, str]()
    for user_id, emoji in steps:
        before = expected.get(user_id)
        state, events = react(state, user_id, emoji)
        expected.pop(user_id, None)
        if emoji is not None:
            expected[user_id] = emoji
        assert {user: reaction.emoji for user, reaction in state.reactions.items()} == expected
        assert events == (emoji != before)


def test_emoji_and_users_are_in_the_order_of_the_reactions() -> None:
    state = Message()
    for user_id, emoji in (("anna", "👍"), ("boris", "❤️"), ("carl", "👍"), ("anna", "❤️")):
        state, _ = react(state, user_id, emoji)
    assert list(state.users_by_emoji().items()) == [("❤️", ["boris", "anna"]), ("👍", ["carl"])]


def test_an_erased_reaction_counts_as_none() -> None:
    (event,) = decide_react(Message(), SENT, "boris", "👍")
    assert isinstance(event, ReactionChanged)
    state = evolve_message(Message(), msgspec.structs.replace(event, emoji=None), NOW)
    assert state.reactions == {}


def test_nobody_reacts_to_a_deleted_message() -> None:
    state = delete(react(Message(), "boris", "👍")[0])
    assert state.reactions == {}
    for emoji in ("👍", "❤️", None):
        with pytest.raises(MessageHasBeenDeleted):
            react(state, "boris", emoji)


def test_edits_and_reactions_are_bounded_separately_and_a_removal_or_deletion_is_never_refused() -> None:
    state = Message()
    for number in range(MOST_REACTION_CHANGES):
        state, _ = react(state, "boris", "👍" if number % 2 else "❤️")
    for user_id, emoji in (("boris", "❤️"), ("anna", "👍")):
        with pytest.raises(TooManyChanges):
            react(state, user_id, emoji)
    # A repeat is no change.
    assert react(state, "boris", "👍") == (state, 0)
    state, events = react(state, "boris", None)
    assert (events, state.reactions) == (1, {})
    with pytest.raises(TooManyChanges):
        react(state, "boris", "👍")
    for number in range(MOST_EDITS):
        state = edit(state, str(number))
    with pytest.raises(TooManyChanges):
        edit(state, "once more")
    assert edit(state, str(MOST_EDITS - 1)) == state
    assert delete(state).deleted


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=8))
def test_the_state_is_the_last_text_or_the_deletion(texts: list[str | None]) -> None:
    state, text, deleted = Message(), "a", False
    for wanted in texts:
        if wanted is None:
            state, deleted = delete(state), True
        elif deleted:
            with pytest.raises(MessageHasBeenDeleted):
                edit(state, wanted)
        else:
            state, text = edit(state, wanted), wanted
    assert state.deleted == deleted
    if not deleted:
        assert state.current_text(SENT.text) == text


def test_a_message_that_is_too_old_is_deleted_by_the_system_once() -> None:
    [event] = decide_expire(edit(Message(), "b"), SENT)
    assert isinstance(event, MessageDeleted)
    assert (event.message_id, event.sequence, event.members, event.expired) == ("m", 7, ("anna", "boris"), True)
    assert decide_expire(evolve_message(Message(), event, NOW), SENT) == ()
