"""Routes for the caller's notifications: list, count unread, mark as read."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.errors import Invalid, Violation
from contracts.notification_kinds import NotificationFrom, NotificationKind
from contracts.rpc.vestnik.messaging.v1 import (
    CountUnreadNotificationsRequest,
    ListNotificationsRequest,
    MarkNotificationsReadRequest,
    Notification,
)
from contracts.values.field_types import Id
from services.gateway.http.endpoint import (
    AnyEndpoint,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Page,
    Request,
    Response,
)
from services.gateway.http.query_params import PageQuery
from services.gateway.limits import policies, rate_limiter
from services.gateway.routes.timestamps import Time, shown


class NotificationItem(msgspec.Struct, frozen=True):
    notification_id: Id
    kind: NotificationKind
    from_user_id: NotificationFrom
    at: Time
    read: bool


Group = Literal["conversation"]


class NotificationsQuery(PageQuery, frozen=True):
    group: Annotated[
        Group | None,
        Meta(
            description=(
                "`conversation`: of each conversation only the notification of its newest message; default: one for "
                "each message. Grouped lists have a limit of their own, `notification-groups`."
            )
        ),
    ] = None


class UnreadQuery(msgspec.Struct, frozen=True):
    group: Annotated[
        Group | None,
        Meta(description="`conversation`: counts those of a conversation's messages once; default: one for each."),
    ] = None


class Unread(msgspec.Struct, frozen=True):
    unread_count: int


class ReadNotifications(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    notification_ids: (
        Annotated[
            tuple[Id, ...],
            Meta(min_length=1, max_length=200, description="Other users' and already read ones are ignored."),
        ]
        | UnsetType
    ) = UNSET
    up_to: (
        Annotated[
            Id,
            Meta(
                description=(
                    "Instead of `notification_ids`: this one and all below it in the list. With the first one of "
                    "a loaded list, everything in that list is read, and newer ones stay unread."
                )
            ),
        ]
        | UnsetType
    ) = UNSET
    group: (
        Annotated[
            Group,
            Meta(
                description=(
                    "With the notification of a message also those of all earlier messages of its conversation. Not "
                    "together with `up_to`."
                )
            ),
        ]
        | UnsetType
    ) = UNSET


async def list_notifications(incoming: Request[NotificationsQuery, NoBody]) -> Response:
    messaging, query, limiter = incoming.context.remotes.messaging, incoming.query, incoming.context.limiter
    if query.group is not None and limiter is not None:
        incoming.limit_states.append(limiter.consume(policies.NOTIFICATION_GROUPS, incoming.caller.user_id))
        rate_limiter.check(incoming.limit_states)
    request = ListNotificationsRequest(
        user_id=incoming.caller.user_id,
        limit=query.limit,
        cursor=query.cursor,
        by_conversation=query.group is not None,
    )
    answer = await messaging.read(messaging.stub.list_notifications, request)
    items = [_item(notification) for notification in answer.notifications]
    return Response(body=Page(items, answer.next or None), position=answer.position)


async def count_unread(incoming: Request[UnreadQuery, NoBody]) -> Response:
    messaging = incoming.context.remotes.messaging
    request = CountUnreadNotificationsRequest(
        user_id=incoming.caller.user_id, by_conversation=incoming.query.group is not None
    )
    answer = await messaging.read(messaging.stub.count_unread_notifications, request)
    return Response(body=Unread(answer.unread), position=answer.position)


async def mark_read(incoming: Request[NoQuery, ReadNotifications]) -> Response:
    messaging, user_id = incoming.context.remotes.messaging, incoming.caller.user_id
    ids, up_to, group = incoming.body.notification_ids, incoming.body.up_to, incoming.body.group
    if ids is UNSET and up_to is UNSET:
        raise Invalid(violations=(Violation("/notification_ids", "Needed, or `up_to`"),))
    if ids is not UNSET and up_to is not UNSET:
        raise Invalid(violations=(Violation("/up_to", "Not together with `notification_ids`"),))
    if group is not UNSET and up_to is not UNSET:
        raise Invalid(violations=(Violation("/group", "Not together with `up_to`"),))
    request = MarkNotificationsReadRequest(
        user_id=user_id,
        notification_ids=[] if ids is UNSET else list(ids),
        up_to="" if up_to is UNSET else up_to,
        by_conversation=group is not UNSET,
    )
    answer = await messaging.command(messaging.stub.mark_notifications_read, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=user_id)


def _item(notification: Notification) -> NotificationItem:
    return NotificationItem(
        notification.notification_id,
        notification.kind,
        notification.from_user_id,
        shown(notification.at),
        notification.read,
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/notifications",
        tag="Notifications",
        summary="One's notifications",
        description=(
            "Newest first. A notification of a message becomes read when the message is seen in its conversation, "
            "by `PUT /v1/conversations/{user_id}/seen` or by writing there."
        ),
        handler=list_notifications,
        query=NotificationsQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of notifications.", body=Page[NotificationItem])},
        reads=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/notifications/unread",
        tag="Notifications",
        summary="Count unread notifications",
        description=(
            "Without muted conversations, for as long as they are muted; the notification of a deleted message is read."
        ),
        handler=count_unread,
        query=UnreadQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The number.", body=Unread)},
        reads=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/notifications/read",
        tag="Notifications",
        summary="Mark notifications as read",
        description="By ids, or all up to one in the list.",
        handler=mark_read,
        query=NoQuery,
        body=ReadNotifications,
        answers={204: DocumentedResponse(description="Noted.")},
        writes=True,
        command="read_notifications",
    ),
)
