"""Load, decide, append: sends messages and marks them as seen."""

from collections.abc import Collection, Sequence

import msgspec
from msgspec import UNSET

from contracts.errors import ClientMessageIdReused, MessageNotFound, NotFriends, Overloaded, UserNotFound
from contracts.messages import Quote
from contracts.subjects import conversation, read_mark
from contracts.values.ids import pair_id
from infra.rpc.call_context import Call
from services.messaging.changes.domain import Message
from services.messaging.clients import Friendships
from services.messaging.deduplication.deduplicator import Deduplicator
from services.messaging.domain import (
    Conversation,
    ReadMark,
    SendMessage,
    Sent,
    check_repeat,
    check_seen,
    decide_seen,
    decide_send,
    evolve_conversation,
    evolve_read_mark,
)
from services.messaging.message_lookup import MessageLookup
from services.messaging.queries import MessageQueries
from streams.batching.flat_combining import FlatCombiner, PendingCommand
from streams.log import Conflict, Log
from streams.repository import AggregateSession, Repository

# Attempts of a command that meets conflicts.
TRIES = 20

# The result is the message, and whether this call has sent it.
_Turn = PendingCommand[tuple[SendMessage, Call], tuple[Sent, bool]]


class SendOutcome(msgspec.Struct, frozen=True):
    message: Sent
    # Whether this call has sent it.
    created: bool
    # The message that it answers, as it is now.
    reply_to: Quote | None
    # What happened to it since, and the stream sequence of that in MESSAGING (0: nothing).
    changes: Message = Message()
    changed_sequence: int = 0


class SendCommands:
    def __init__(
        self,
        log: Log,
        friendships: Friendships,
        queries: MessageQueries,
        lookup: MessageLookup,
        messages: Repository[Message],
    ) -> None:
        self._friendships = friendships
        self._repeats = Deduplicator(log, queries)
        self._lookup = lookup
        self._messages = messages
        self._sends = FlatCombiner(self._send_all)
        self._conversations: Repository[Conversation] = Repository(
            log,
            subject=conversation,
            initial=Conversation(),
            evolve=evolve_conversation,
            tail_only=True,
        )

    async def send(self, command: SendMessage, call: Call, *, reply_to: str | None = None) -> SendOutcome:
        """Sends the message once per client_message_id. A repeat gets the message as it is now.

        `reply_to`: id of the message that it answers.

        Raises:
            NotFriends, UserNotFound: these two cannot write to each other.
            MessageNotFound: their conversation has no message `reply_to`.
            ClientMessageIdReused: the id was used for another text, or for an answer to another message.
            ReadModelBehind: it cannot be determined now whether the message was sent before, or which one it answers.
            Overloaded: too many conflicts, or too long a wait for other commands.
        """
        if command.sender_id == command.recipient_id:
            raise NotFriends
        conversation_id = pair_id(command.sender_id, command.recipient_id)
        try:
            await self._friendships.require_present(command.recipient_id)
            await self._friendships.require_friends(command.sender_id, command.recipient_id, call.position)
        except (NotFriends, UserNotFound):
            # A duplicate gets the original response, even if the friendship or the account has ended since.
            if (repeat := await self._sent_before(conversation_id, command, call, reply_to)) is None:
                raise
            return repeat
        command = await self._with_quote(conversation_id, command, call, reply_to)
        message, created = await self._sends.submit(conversation_id, (command, call))
        return SendOutcome(message, True, command.reply_to) if created else await self._as_it_is_now(message, command)

    async def _with_quote(
        self, conversation_id: str, command: SendMessage, call: Call, reply_to: str | None
    ) -> SendMessage:
        if reply_to is None:
            return command
        answered = await self._lookup.find(conversation_id, reply_to, call.position)
        quote = Quote(
            message_id=answered.message_id,
            sequence=answered.sequence,
            sender_id=answered.sender_id,
            text=answered.text,
            deleted=answered.deleted or UNSET,
        )
        return msgspec.structs.replace(command, reply_to=quote)

    async def _as_it_is_now(self, used: Sent, command: SendMessage) -> SendOutcome:
        """The earlier message with the command's client_message_id, with what happened to it since.

        Raises:
            ClientMessageIdReused: it was not deleted, and was sent with another text or as an answer to another one.
        """
        changed = await self._messages.load(used.message_id)
        check_repeat(command, used, deleted=changed.state.deleted)
        quote = command.reply_to
        if quote is not None and quote.sequence != used.reply_to_sequence:
            quote = None
        return SendOutcome(used, False, quote, changed.state, changed.sequence)

    async def _send_all(self, conversation_id: str, turns: Sequence[_Turn]) -> None:
        """Sends the messages in order of arrival, as many per append as possible."""
        conflicts = 0
        async with self._conversations.lock(conversation_id) as editing:
            while turns:
                try:
                    turns = await self._send_first(conversation_id, editing, turns)
                    conflicts = 0
                except Conflict:
                    conflicts += 1
                    if conflicts == TRIES:
                        raise Overloaded from None
                    await editing.refresh()

    async def _send_first(
        self, conversation_id: str, editing: AggregateSession[Conversation], turns: Sequence[_Turn]
    ) -> Sequence[_Turn]:
        """Processes the first command and, in the same append, those after it that are certainly not duplicates.

        Returns:
            The remaining commands.

        Raises:
            Conflict: another replica appended first; commands without an answer have to be decided again.
        """
        before = editing.sequence
        staged: dict[tuple[str, str], _Turn] = {}
        left: Sequence[_Turn] = ()
        for index, turn in enumerate(turns):
            if turn.is_over:
                continue
            command, call = turn.command
            of_command = command.sender_id, command.client_message_id
            used: Sent | None = None
            try:
                if of_command in staged or not self._repeats.is_certainly_new(conversation_id, before, command):
                    if staged:
                        left = turns[index:]
                        break
                    used = await self._repeats.find_duplicate(
                        conversation_id, before, editing.state.last_sequence, command
                    )
                events = decide_send(editing.state, command, used)
            except Exception as error:  # fails this command alone
                turn.fail(error)
                continue
            if used is not None and not events:
                turn.answer((used, False))
                continue
            editing.stage(events, call.provenance())
            staged[of_command] = turn
        if staged:
            for turn, stored in zip(staged.values(), await editing.store(), strict=True):
                turn.answer((self._repeats.add(conversation_id, before, stored), True))
                before = stored.sequence
        return left

    async def _sent_before(
        self, conversation_id: str, command: SendMessage, call: Call, reply_to: str | None
    ) -> SendOutcome | None:
        """Returns this message if the conversation contains it already, with the same text and the same quote.

        The conversation is closed: the response has neither the quote's text nor reactions.
        """
        try:
            command = await self._with_quote(conversation_id, command, call, reply_to)
        except MessageNotFound:
            return None
        async with self._conversations.lock(conversation_id) as editing:
            await editing.refresh()
            length = editing.state.last_sequence
            used = await self._repeats.find_duplicate(conversation_id, editing.sequence, length, command)
        if used is None:
            return None
        try:
            repeat = await self._as_it_is_now(used, command)
        except ClientMessageIdReused:
            return None
        quote = repeat.reply_to
        return msgspec.structs.replace(
            repeat,
            reply_to=None if quote is None else msgspec.structs.replace(quote, text=UNSET, deleted=UNSET),
            changes=msgspec.structs.replace(repeat.changes, reactions={}),
        )

    def erase(self, users: Collection[str]) -> None:
        """Forgets the texts of users who were erased."""
        self._repeats.erase(users)

    async def last_sequence(self, conversation_id: str, at_least: int) -> int:
        """Returns the last message's sequence: from the cache if that is `at_least`, else from the stream."""
        conversation = self._conversations.cached(conversation_id)
        if conversation is None or conversation.state.last_sequence < at_least:
            conversation = await self._conversations.load(conversation_id)
        return conversation.state.last_sequence


class SeenCommands:
    def __init__(self, log: Log, friendships: Friendships, sending: SendCommands) -> None:
        self._friendships = friendships
        self._sending = sending
        self._marks: Repository[ReadMark] = Repository(
            log,
            subject=lambda key: read_mark(*key.split(".")),
            initial=ReadMark(),
            evolve=evolve_read_mark,
            tail_only=True,
        )

    async def mark_seen(self, user_id: str, peer_id: str, sequence: int, call: Call) -> int:
        """Marks all messages up to the sequence as seen. Returns the stream sequence of the last mark in MESSAGING.

        Raises:
            NotFriends: the conversation is closed to the user.
            MessageNotFound: it has no such message.
        """
        await self._friendships.require_open_conversation(user_id, peer_id, call.position)
        conversation_id = pair_id(user_id, peer_id)
        check_seen(sequence, await self._sending.last_sequence(conversation_id, sequence))
        outcome = await self._marks.execute(
            f"{conversation_id}.{user_id}",
            lambda state: decide_seen(
                state, conversation_id=conversation_id, reader_id=user_id, peer_id=peer_id, sequence=sequence
            ),
            call.provenance(),
        )
        return outcome.sequence
