"""gRPC server of messaging: validates requests and maps messages; `infra.rpc` maps the errors."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.messaging.v1 import (
    CopyMessagesRequest,
    CopyMessagesResponse,
    CountUnreadConversationsRequest,
    CountUnreadConversationsResponse,
    GetQuotesRequest,
    GetQuotesResponse,
    MarkSeenRequest,
    MarkSeenResponse,
    MessageCopy,
    QuotedText,
    SendMessageRequest,
    SendMessageResponse,
)
from contracts.values.field_types import (
    MOST_QUOTES,
    REPORTED_MESSAGES,
    ClientMessageId,
    Id,
    MessageSequence,
    Text,
)
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.backfill.queries import BackfillQueries
from services.messaging.backfill.server import BackfillServer
from services.messaging.changes.commands import ChangeCommands
from services.messaging.changes.server import ChangeServer
from services.messaging.closed.queries import ClosedMessageQueries
from services.messaging.closed.server import ClosedMessageServer
from services.messaging.commands import SeenCommands, SendCommands
from services.messaging.domain import SendMessage
from services.messaging.message_copies import MessageCopies
from services.messaging.notifications.commands import NotificationCommands
from services.messaging.notifications.queries import NotificationQueries
from services.messaging.notifications.server import NotificationServer
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.server import PageServer
from services.messaging.queries import MessageQueries
from services.messaging.retention.queries import AgedMessageQueries
from services.messaging.retention.server import RetentionServer
from services.messaging.rpc_messages import UserRequest, encoded_position, id_tuple, message_answer
from services.messaging.search.search import MessageSearch
from services.messaging.search.server import SearchServer
from services.messaging.settings.commands import SettingsCommands
from services.messaging.settings.drafts import Drafts
from services.messaging.settings.server import SettingsServer
from streams.log import Log


class _Send(msgspec.Struct, frozen=True):
    sender_id: Id
    recipient_id: Id
    text: Text
    client_message_id: ClientMessageId
    reply_to: Id | None = None


class _Seen(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    sequence: MessageSequence


class _Copies(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    message_ids: Annotated[tuple[Id, ...], Meta(max_length=REPORTED_MESSAGES)]


class _Quoted(msgspec.Struct, frozen=True):
    conversation_id: Id
    sequence: MessageSequence


class _Quotes(msgspec.Struct, frozen=True):
    messages: Annotated[tuple[_Quoted, ...], Meta(max_length=MOST_QUOTES)]


class MessagingServer(
    ChangeServer,
    PageServer,
    SettingsServer,
    SearchServer,
    NotificationServer,
    BackfillServer,
    RetentionServer,
    ClosedMessageServer,
):
    def __init__(
        self,
        *,
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
        missed: BackfillQueries,
        log: Log,
        aged: AgedMessageQueries,
        closed: ClosedMessageQueries,
    ) -> None:
        ChangeServer.__init__(self, changing)
        PageServer.__init__(self, pages, drafts)
        SettingsServer.__init__(self, settings, messages)
        SearchServer.__init__(self, search)
        NotificationServer.__init__(self, reading, notifications)
        BackfillServer.__init__(self, missed)
        RetentionServer.__init__(self, log, aged)
        ClosedMessageServer.__init__(self, closed)
        self._sending = sending
        self._seeing = seeing
        self._messages = messages
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
        answer = message_answer(
            outcome.message, request.sender_id, request.recipient_id, outcome.changes, outcome.reply_to
        )
        return SendMessageResponse(
            message=answer,
            created=outcome.created,
            position=encoded_position(max(outcome.message.stream_sequence, outcome.changed_sequence)),
        )

    async def mark_seen(self, message: MarkSeenRequest) -> MarkSeenResponse:
        request = validated(
            _Seen, {"user_id": message.user_id, "peer_id": message.peer_id, "sequence": message.sequence}
        )
        sequence = await self._seeing.mark_seen(request.user_id, request.peer_id, request.sequence, current())
        return MarkSeenResponse(position=encoded_position(sequence))

    async def count_unread_conversations(
        self, message: CountUnreadConversationsRequest
    ) -> CountUnreadConversationsResponse:
        request = validated(UserRequest, {"user_id": message.user_id})
        unread, position = await self._messages.count_unread(request.user_id, current().position)
        return CountUnreadConversationsResponse(
            conversations=unread.conversations, messages=unread.messages, position=position.encode()
        )

    async def copy_messages(self, message: CopyMessagesRequest) -> CopyMessagesResponse:
        request = validated(
            _Copies,
            {"user_id": message.user_id, "peer_id": message.peer_id, "message_ids": id_tuple(message.message_ids)},
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
