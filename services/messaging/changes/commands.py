"""Load, decide, append: edits and deletes messages, and reacts to them.

A message's aggregate begins with its first change. The read model knows what was sent; the aggregate, read from the
stream, decides.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec

from contracts.envelope import now
from contracts.events.event import Event
from contracts.events.message import RepliedTo
from contracts.subjects import message
from contracts.values.ids import pair_id
from infra.rpc.call_context import Call
from services.messaging.changes.domain import (
    Message,
    OriginalMessage,
    decide_delete,
    decide_edit,
    decide_react,
    evolve_message,
    is_deletion,
)
from services.messaging.clients import Friendships
from services.messaging.message_lookup import MessageLookup
from services.messaging.queries import StoredMessage
from streams.log import Log
from streams.repository import CommandResult, Repository


class ChangeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A message, and who changes it."""

    user_id: str
    peer_id: str
    message_id: str

    @property
    def conversation_id(self) -> str:
        return pair_id(self.user_id, self.peer_id)


class ChangeOutcome(msgspec.Struct, frozen=True):
    # As the read model has it: perhaps without its last changes.
    message: StoredMessage
    # After the command.
    state: Message
    # Stream sequence of the message's last change in MESSAGING; 0: it was never changed.
    stream_sequence: int


def message_repository(log: Log) -> Repository[Message]:
    return Repository(log, subject=message, initial=Message(), evolve=evolve_message, carries_state=is_deletion)


def last_changes(log: Log) -> Repository[Message]:
    """Repository for deletions: it loads a message's last change alone, however often the message was changed.

    That is enough, since no change follows a deletion.
    """
    return Repository(log, subject=message, initial=Message(), evolve=evolve_message, tail_only=True)


class ChangeCommands:
    def __init__(
        self,
        log: Log,
        friendships: Friendships,
        lookup: MessageLookup,
        messages: Repository[Message],
        *,
        edit_window: timedelta,
        delete_window: timedelta | None,
    ) -> None:
        """`edit_window`, `delete_window`: how long after it was sent a message can be edited, deleted; None: always."""
        self._friendships = friendships
        self._lookup = lookup
        self._messages = messages
        self._last_changes = last_changes(log)
        self._edit_window = edit_window
        self._delete_window = delete_window

    async def edit(self, target: ChangeTarget, text: str, call: Call) -> ChangeOutcome:
        """Gives the user's message another text.

        Raises:
            NotSender, MessageHasBeenDeleted, EditWindowOver, TooManyChanges: the decision's refusals.
            Errors of `_change`.
        """
        return await self._change(
            self._messages,
            target,
            call,
            lambda state, sent: decide_edit(state, sent, target.user_id, text, now(), self._edit_window),
        )

    async def delete(self, target: ChangeTarget, call: Call) -> int:
        """Deletes the user's message. Returns the stream sequence of the deletion in MESSAGING.

        Raises:
            NotSender, EditWindowOver: the decision's refusals.
            Errors of `_change`.
        """
        outcome = await self._change(
            self._last_changes,
            target,
            call,
            lambda state, sent: decide_delete(state, sent, target.user_id, now(), self._delete_window),
        )
        return outcome.stream_sequence

    async def react(self, target: ChangeTarget, emoji: str | None, call: Call) -> ChangeOutcome:
        """Gives the message the user's reaction, or removes it (None).

        Raises:
            MessageHasBeenDeleted, TooManyChanges: the decision's refusals.
            UserNotFound: the other user was erased; a reaction can still be removed.
            Errors of `_change`.
        """
        if emoji is not None:
            await self._friendships.require_present(target.peer_id)
        return await self._change(
            self._messages, target, call, lambda state, sent: decide_react(state, sent, target.user_id, emoji)
        )

    async def _change(
        self,
        messages: Repository[Message],
        target: ChangeTarget,
        call: Call,
        decide: Callable[[Message, OriginalMessage], Sequence[Event]],
    ) -> ChangeOutcome:
        """Decides on the message's state in the stream, again after each conflict.

        Raises:
            NotFriends: the conversation is closed to the user.
            MessageNotFound: it has no such message.
            ReadModelBehind: it may have one that the read model lacks.
            Overloaded: too many conflicts.
        """
        await self._friendships.require_open_conversation(target.user_id, target.peer_id, call.position)
        stored = await self._lookup.find(target.conversation_id, target.message_id, call.position)
        original = OriginalMessage(
            message_id=stored.message_id,
            conversation_id=target.conversation_id,
            sequence=stored.sequence,
            sender_id=stored.sender_id,
            sent_at=stored.sent_at,
            members=tuple(sorted((target.user_id, target.peer_id))),
            text=stored.text,
            reply_to=None if stored.quote is None else msgspec.json.decode(stored.quote, type=RepliedTo),
        )
        result: CommandResult[Message] = await messages.execute(
            stored.message_id, lambda state: decide(state, original), call.provenance()
        )
        return ChangeOutcome(stored, result.state, result.sequence)
