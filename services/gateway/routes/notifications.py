"""The list of one's notifications."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.fields import Id
from contracts.rpc.vestnik.messaging.v1 import ListNotificationsRequest, Notification
from services.gateway.endpoints import Answer, AnyEndpoint, Endpoint, Incoming, NoBody, Page, Reply
from services.gateway.queries import PageQuery
from services.gateway.times import Time, shown


class NotificationItem(msgspec.Struct, frozen=True):
    notification_id: Id
    kind: Annotated[str, Meta(description="`friend_request`, `friend_accepted` or `message`; more may come.")]
    from_user_id: Id
    at: Time
    read: bool


async def list_notifications(incoming: Incoming[PageQuery, NoBody]) -> Reply:
    messaging, query = incoming.parts.remotes.messaging, incoming.query
    request = ListNotificationsRequest(user_id=incoming.caller.user_id, limit=query.limit, cursor=query.cursor)
    answer = await messaging.read(messaging.stub.list_notifications, request)
    items = [_item(found) for found in answer.notifications]
    return Reply(body=Page(items, answer.next or None), position=answer.position)


def _item(found: Notification) -> NotificationItem:
    return NotificationItem(found.notification_id, found.kind, found.from_user_id, shown(found.at), found.read)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/notifications",
        tag="Notifications",
        summary="One's notifications",
        description="Newest first.",
        handler=list_notifications,
        query=PageQuery,
        body=NoBody,
        answers={200: Answer(description="A page of notifications.", body=Page[NotificationItem])},
        reads=True,
    ),
)
