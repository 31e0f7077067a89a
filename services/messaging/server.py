"""gRPC server of messaging: validates requests and maps messages; `infra.rpc` maps the errors."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta

from contracts.errors import Invalid, Violation
from contracts.events.message import FOREVER
from contracts.messages import Quote, Reaction, SentMessage
from contracts.notification_kinds import LiveConversation
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import (
    BackfillNotificationsRequest,
    BackfillRequest,
    ClientEvent,
    CopyMessagesRequest,
    CopyMessagesResponse,
    CountUnreadConversationsRequest,
    CountUnreadConversationsResponse,
    CountUnreadNotificationsRequest,
    CountUnreadNotificationsResponse,
    DeleteMessageRequest,
    DeleteMessageResponse,
    EditMessageRequest,
    EditMessageResponse,
    GetMessagesRequest,
    GetMessagesResponse,
    GetQuotesRequest,
    GetQuotesResponse,
    ListConversationsRequest,
    ListConversationsResponse,
    ListMutesRequest,
    ListMutesResponse,
    ListNotificationsRequest,
    ListNotificationsResponse,
    MarkNotificationsReadRequest,
    MarkNotificationsReadResponse,
    MarkSeenRequest,
    MarkSeenResponse,
    MessageCopy,
    MessagingServiceBase,
    Mute,
    Notification,
    QuotedText,
    ReactRequest,
    ReactResponse,
    SearchMessagesRequest,
    SearchMessagesResponse,
    SendMessageRequest,
    SendMessageResponse,
    UpdateConversationRequest,
    UpdateConversationResponse,
)
from contracts.subjects import MESSAGING
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.emoji import qualified_emoji
from contracts.values.field_types import (
    MOST_QUOTES,
    PAGE_LIMIT,
    REPORTED_MESSAGES,
    ClientMessageId,
    Draft,
    EmojiText,
    Id,
    MessageQuery,
    MessageSequence,
    PageLimit,
    Text,
)
from contracts.values.field_types import Sequence as SequenceNumber
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import from_unix_ms, rfc3339, to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.backfill import backfill
from services.messaging.changes.commands import ChangeCommands, ChangeTarget
from services.messaging.changes.domain import Message
from services.messaging.commands import SeenCommands, SendCommands
from services.messaging.domain import SendMessage, Sent
from services.messaging.message_copies import MessageCopies
from services.messaging.notifications.backfill import backfill_notifications
from services.messaging.notifications.commands import NotificationCommands
from services.messaging.notifications.queries import NotificationQueries, NotificationsCursor
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import ListRequest, PageRequest
from services.messaging.queries import ConversationsCursor, MessageQueries, StoredMessage
from services.messaging.search.queries import SearchCursor
from services.messaging.search.search import MessageSearch
from services.messaging.settings.commands import SettingsCommands
from services.messaging.settings.domain import SettingsPatch
from services.messaging.settings.drafts import Drafts


class _Send(msgspec.Struct, frozen=True):
    sender_id: Id
    recipient_id: Id
    text: Text
    client_message_id: ClientMessageId
    reply_to: Id | None = None


class _Change(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    message_id: Id


class _Edit(_Change, frozen=True):
    text: Text


class _Messages(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    limit: PageLimit
    before: SequenceNumber | None = None
    after: SequenceNumber | None = None


class _Seen(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    sequence: MessageSequence


class _Update(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    muted_until: Annotated[int, Meta(ge=0, le=to_unix_ms(FOREVER))] | None
    pinned: bool | None
    archived: bool | None
    draft: Draft | None


class _React(_Change, frozen=True):
    emoji: EmojiText | None


class _List(msgspec.Struct, frozen=True):
    user_id: Id
    limit: PageLimit


class _Search(_List, frozen=True):
    query: MessageQuery
    peer_id: Id | None = None


class _Whose(msgspec.Struct, frozen=True):
    user_id: Id


class _Read(msgspec.Struct, frozen=True):
    user_id: Id
    notification_ids: Annotated[tuple[Id, ...], Meta(max_length=200)]
    up_to: Id | None = None


class _Copies(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    message_ids: Annotated[tuple[Id, ...], Meta(max_length=REPORTED_MESSAGES)]


class _Quoted(msgspec.Struct, frozen=True):
    conversation_id: Id
    sequence: MessageSequence


class _Quotes(msgspec.Struct, frozen=True):
    messages: Annotated[tuple[_Quoted, ...], Meta(max_length=MOST_QUOTES)]


class _Backfill(msgspec.Struct, frozen=True):
    user_id: Id
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    limit: Annotated[int, Meta(ge=0)]


class _BackfillMessages(_Backfill, frozen=True):
    most_bytes: Annotated[int, Meta(ge=0)]


class _BackfillNotifications(_Backfill, frozen=True):
    stream: Literal["CONTACT", "MESSAGING", "SESSION"]


class MessagingServer(MessagingServiceBase):
    def __init__(
        self,
        sending: SendCommands,
        seeing: SeenCommands,
        changing: ChangeCommands,
        reading: NotificationCommands,
        messages: MessageQueries,
        notifications: NotificationQueries,
        pages: PageReader,
        settings: SettingsCommands,
        drafts: Drafts,
        search: MessageSearch,
        copies: MessageCopies,
    ) -> None:
        self._sending = sending
        self._seeing = seeing
        self._changing = changing
        self._reading = reading
        self._messages = messages
        self._notifications = notifications
        self._pages = pages
        self._settings = settings
        self._drafts = drafts
        self._search = search
        self._copies = copies

    async def send_message(self, message: SendMessageRequest) -> SendMessageResponse:
        request = validated(
            _Send,
            {
                "sender_id": message.sender_id,
                "recipient_id": message.recipient_id,
                "text": message.text,
                "client_message_id": message.client_message_id,
                "reply_to": message.reply_to or None,
            },
        )
        command = SendMessage(
            message_id=new_id(),
            sender_id=request.sender_id,
            recipient_id=request.recipient_id,
            text=request.text,
            client_message_id=request.client_message_id,
        )
        outcome = await self._sending.send(command, current(), reply_to=request.reply_to)
        answer = _shown(outcome.message, request.sender_id, request.recipient_id, outcome.changes, outcome.reply_to)
        return SendMessageResponse(
            message=answer,
            created=outcome.created,
            position=_position(max(outcome.message.stream_sequence, outcome.changed_sequence)),
        )

    async def edit_message(self, message: EditMessageRequest) -> EditMessageResponse:
        request = validated(
            _Edit,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "message_id": message.message_id,
                "text": message.text,
            },
        )
        outcome = await self._changing.edit(_target(request), request.text, current())
        quote = outcome.message.quote
        answer = _shown(
            outcome.message,
            request.user_id,
            request.peer_id,
            outcome.state,
            None if quote is None else msgspec.json.decode(quote, type=Quote),
        )
        return EditMessageResponse(message=answer, position=_position(outcome.stream_sequence))

    async def delete_message(self, message: DeleteMessageRequest) -> DeleteMessageResponse:
        request = validated(
            _Change, {"user_id": message.user_id, "peer_id": message.peer_id, "message_id": message.message_id}
        )
        sequence = await self._changing.delete(_target(request), current())
        return DeleteMessageResponse(position=_position(sequence))

    async def get_messages(self, message: GetMessagesRequest) -> GetMessagesResponse:
        request = validated(
            _Messages,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "before": message.before,
                "after": message.after,
                "limit": message.limit or PAGE_LIMIT,
            },
        )
        if request.before is not None and request.after is not None:
            raise Invalid(violations=(Violation("/after", "not together with `before`"),))
        page, position = await self._pages.messages(
            PageRequest(request.user_id, request.peer_id),
            current().position,
            before=request.before,
            after=request.after,
            limit=request.limit,
            known=message.known,
        )
        if page is None:
            return GetMessagesResponse(unchanged=True, position=position.encode())
        return GetMessagesResponse(
            items=page.items, last=page.last, more=page.more, version=page.version, position=position.encode()
        )

    async def mark_seen(self, message: MarkSeenRequest) -> MarkSeenResponse:
        request = validated(
            _Seen, {"user_id": message.user_id, "peer_id": message.peer_id, "sequence": message.sequence}
        )
        sequence = await self._seeing.mark_seen(request.user_id, request.peer_id, request.sequence, current())
        return MarkSeenResponse(position=_position(sequence))

    async def update_conversation(self, message: UpdateConversationRequest) -> UpdateConversationResponse:
        request = validated(
            _Update,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "muted_until": message.muted_until,
                "pinned": message.pinned,
                "archived": message.archived,
                "draft": message.draft,
            },
        )
        patch = SettingsPatch(
            muted_until=UNSET if request.muted_until is None else from_unix_ms(request.muted_until),
            pinned=UNSET if request.pinned is None else request.pinned,
            archived=UNSET if request.archived is None else request.archived,
        )
        sequence = await self._settings.update(request.user_id, request.peer_id, patch, current(), draft=request.draft)
        if request.draft is None:
            return UpdateConversationResponse(position=_position(sequence))
        live = LiveConversation(
            user_id=request.peer_id,
            conversation_id=pair_id(request.user_id, request.peer_id),
            draft=request.draft,
        )
        return UpdateConversationResponse(position=_position(sequence), live=msgspec.json.encode(live))

    async def react(self, message: ReactRequest) -> ReactResponse:
        request = validated(
            _React,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "message_id": message.message_id,
                "emoji": message.emoji or None,
            },
        )
        emoji = None if request.emoji is None else qualified_emoji(request.emoji)
        if emoji is None and request.emoji is not None:
            raise Invalid(violations=(Violation("/emoji", "not a single emoji"),))
        outcome = await self._changing.react(_target(request), emoji, current())
        return ReactResponse(position=_position(outcome.stream_sequence))

    async def list_conversations(self, message: ListConversationsRequest) -> ListConversationsResponse:
        request = validated(_List, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        after = decode_cursor(message.cursor, ConversationsCursor)
        page, position = await self._pages.conversations(
            ListRequest(request.user_id, request.limit, after, message.archived), current().position
        )
        drafts = await self._drafts.of(request.user_id, page.conversation_ids)
        return ListConversationsResponse(
            items=page.array(drafts or {}),
            next=page.next,
            position=position.encode(),
            drafts_unavailable=drafts is None,
        )

    async def search_messages(self, message: SearchMessagesRequest) -> SearchMessagesResponse:
        request = validated(
            _Search,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id or None,
                "query": message.query,
                "limit": message.limit or PAGE_LIMIT,
            },
        )
        items, more, position = await self._search.search(
            request.user_id,
            request.peer_id,
            request.query,
            current().position,
            limit=request.limit,
            after=decode_cursor(message.cursor, SearchCursor),
            best=message.best,
        )
        return SearchMessagesResponse(items=items, next=encode_cursor(more) if more else "", position=position.encode())

    async def count_unread_conversations(
        self, message: CountUnreadConversationsRequest
    ) -> CountUnreadConversationsResponse:
        request = validated(_Whose, {"user_id": message.user_id})
        unread, position = await self._messages.count_unread(request.user_id, current().position)
        return CountUnreadConversationsResponse(
            conversations=unread.conversations, messages=unread.messages, position=position.encode()
        )

    async def list_mutes(self, message: ListMutesRequest) -> ListMutesResponse:
        request = validated(_Whose, {"user_id": message.user_id})
        rows = await self._messages.mutes(request.user_id, current().position)
        return ListMutesResponse(
            mutes=[Mute(peer_id=row.peer_id, muted_until=to_unix_ms(row.muted_until)) for row in rows]
        )

    async def list_notifications(self, message: ListNotificationsRequest) -> ListNotificationsResponse:
        request = validated(_List, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        page, more, position = await self._notifications.notifications(
            request.user_id,
            current().position,
            limit=request.limit,
            after=decode_cursor(message.cursor, NotificationsCursor),
            by_conversation=message.by_conversation,
        )
        return ListNotificationsResponse(
            notifications=[
                Notification(
                    notification_id=row.notification_id,
                    kind=row.kind,
                    from_user_id=row.from_user_id,
                    at=to_unix_ms(row.at),
                    read=row.read,
                )
                for row in page
            ],
            next=encode_cursor(more) if more else "",
            position=position.encode(),
        )

    async def mark_notifications_read(self, message: MarkNotificationsReadRequest) -> MarkNotificationsReadResponse:
        request = validated(
            _Read,
            {
                "user_id": message.user_id,
                "notification_ids": _texts(message.notification_ids),
                "up_to": message.up_to or None,
            },
        )
        if message.by_conversation and request.up_to is None:
            sequence = await self._reading.mark_read_by_conversation(
                request.user_id, request.notification_ids, current()
            )
        elif request.up_to is None:
            sequence = await self._reading.mark_read(request.user_id, request.notification_ids, current())
        elif request.notification_ids:
            raise Invalid(violations=(Violation("/up_to", "not together with `notification_ids`"),))
        else:
            sequence = await self._reading.mark_read_through(request.user_id, request.up_to, current())
        return MarkNotificationsReadResponse(position=_position(sequence))

    async def copy_messages(self, message: CopyMessagesRequest) -> CopyMessagesResponse:
        request = validated(
            _Copies,
            {"user_id": message.user_id, "peer_id": message.peer_id, "message_ids": _texts(message.message_ids)},
        )
        conversation_id = pair_id(request.user_id, request.peer_id)
        copies = await self._copies.get(conversation_id, request.message_ids, current().position)
        return CopyMessagesResponse(
            messages=[
                MessageCopy(
                    message_id=copy.message_id,
                    sequence=copy.sequence,
                    sender_id=copy.sender_id,
                    sent_at=to_unix_ms(copy.sent_at),
                    text=copy.text,
                )
                for copy in copies
            ]
        )

    async def get_quotes(self, message: GetQuotesRequest) -> GetQuotesResponse:
        request = validated(
            _Quotes,
            {
                "messages": [
                    {"conversation_id": quoted.conversation_id, "sequence": quoted.sequence}
                    for quoted in message.messages
                ]
            },
        )
        quoted = [(quoted.conversation_id, quoted.sequence) for quoted in request.messages]
        rows = await self._messages.quotes(quoted, current().position)
        return GetQuotesResponse(
            quotes=[QuotedText(message_id=row.message_id, text=row.text, deleted=row.deleted) for row in rows]
        )

    async def backfill(self, message: BackfillRequest) -> AsyncIterator[ClientEvent]:
        request = validated(
            _BackfillMessages,
            {
                "user_id": message.user_id,
                "after": message.after,
                "limit": message.limit,
                "most_bytes": message.most_bytes,
            },
        )
        await self._messages.wait_for(current().position)
        async for event in backfill(self._messages, request.user_id, request.after, request.limit, request.most_bytes):
            yield event

    async def count_unread_notifications(
        self, message: CountUnreadNotificationsRequest
    ) -> CountUnreadNotificationsResponse:
        request = validated(_Whose, {"user_id": message.user_id})
        unread, position = await self._notifications.count_unread(
            request.user_id, current().position, by_conversation=message.by_conversation
        )
        return CountUnreadNotificationsResponse(unread=unread, position=position.encode())

    async def backfill_notifications(self, message: BackfillNotificationsRequest) -> AsyncIterator[ClientEvent]:
        request = validated(
            _BackfillNotifications,
            {
                "user_id": message.user_id,
                "stream": message.stream,
                "after": message.after,
                "limit": message.limit,
            },
        )
        await self._notifications.wait_for(current().position)
        async for event in backfill_notifications(
            self._notifications, request.user_id, request.stream, request.after, request.limit
        ):
            yield event


def _target(request: _Change) -> ChangeTarget:
    return ChangeTarget(user_id=request.user_id, peer_id=request.peer_id, message_id=request.message_id)


def _shown(message: Sent | StoredMessage, one: str, other: str, state: Message, quote: Quote | None) -> bytes:
    """The message as JSON, as it is now, in the conversation of the two users."""
    return msgspec.json.encode(
        SentMessage(
            message_id=message.message_id,
            conversation_id=pair_id(one, other),
            sequence=message.sequence,
            sender_id=message.sender_id,
            text=state.current_text(message.text) or "",
            sent_at=rfc3339(message.sent_at),
            edited_at=UNSET if state.edited_at is None else rfc3339(state.edited_at),
            deleted=state.deleted or UNSET,
            reply_to=UNSET if quote is None else quote,
            reactions=[Reaction(*use) for use in state.users_by_emoji().items()] or UNSET,
        )
    )


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values)


def _position(sequence: int) -> str:
    return Position.at(MESSAGING, sequence).encode() if sequence else ""
