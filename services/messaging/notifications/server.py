"""The gRPC methods for notifications."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, Violation
from contracts.rpc.vestnik.messaging.v1 import (
    BackfillNotificationsRequest,
    ClientEvent,
    CountUnreadNotificationsRequest,
    CountUnreadNotificationsResponse,
    ListNotificationsRequest,
    ListNotificationsResponse,
    MarkNotificationsReadRequest,
    MarkNotificationsReadResponse,
    MessagingServiceBase,
    Notification,
)
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import PAGE_LIMIT, Id
from contracts.values.timestamps import to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.notifications.backfill import backfill_notifications
from services.messaging.notifications.commands import NotificationCommands
from services.messaging.notifications.queries import NotificationQueries, NotificationsCursor
from services.messaging.rpc_messages import UserPageRequest, UserRequest, encoded_position, id_tuple


class _Read(msgspec.Struct, frozen=True):
    user_id: Id
    notification_ids: Annotated[tuple[Id, ...], Meta(max_length=200)]
    up_to: Id | None = None


class _Backfill(msgspec.Struct, frozen=True):
    user_id: Id
    stream: Literal["CONTACT", "MESSAGING", "SESSION"]
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    limit: Annotated[int, Meta(ge=0)]


class NotificationServer(MessagingServiceBase):
    def __init__(self, reading: NotificationCommands, notifications: NotificationQueries) -> None:
        self._reading = reading
        self._notifications = notifications

    async def list_notifications(self, message: ListNotificationsRequest) -> ListNotificationsResponse:
        request = validated(UserPageRequest, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
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
                "notification_ids": id_tuple(message.notification_ids),
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
        return MarkNotificationsReadResponse(position=encoded_position(sequence))

    async def count_unread_notifications(
        self, message: CountUnreadNotificationsRequest
    ) -> CountUnreadNotificationsResponse:
        request = validated(UserRequest, {"user_id": message.user_id})
        unread, position = await self._notifications.count_unread(
            request.user_id, current().position, by_conversation=message.by_conversation
        )
        return CountUnreadNotificationsResponse(unread=unread, position=position.encode())

    async def backfill_notifications(self, message: BackfillNotificationsRequest) -> AsyncIterator[ClientEvent]:
        request = validated(
            _Backfill,
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
