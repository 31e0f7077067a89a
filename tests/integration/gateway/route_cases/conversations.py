"""Routes of conversations: messages, marks, settings, search and notifications."""

import msgspec

from contracts.rpc.vestnik.messaging import v1 as messaging
from tests.integration.gateway.route_cases.case import AT, PEER, SHOWN, WROTE, Case, page

SENT = {
    "message_id": PEER,
    "conversation_id": PEER,
    "sequence": 4,
    "sender_id": PEER,
    "text": "Привет\n👋",
    "sent_at": SHOWN,
}
ITEM = {key: value for key, value in SENT.items() if key != "conversation_id"}
SENT_JSON, ITEMS_JSON = msgspec.json.encode(SENT), msgspec.json.encode([ITEM])
CONVERSATION: dict[str, object] = {
    "user_id": PEER,
    "conversation_id": PEER,
    "last_message": ITEM,
    "unread_count": 1,
    "seen_sequence": 3,
    "peer_seen_sequence": 4,
    "muted_until": "forever",
    "pinned": True,
    "archived": False,
}
CONVERSATIONS = {
    "send": Case(
        "POST",
        f"/v1/conversations/{PEER}/messages",
        {"send_message": messaging.SendMessageResponse(message=SENT_JSON, created=True, position=WROTE)},
        201,
        SENT,
        body={"text": "Привет\n👋", "client_message_id": "c-1"},
        asked={"text": "Привет\n👋", "client_message_id": "c-1", "recipient_id": PEER},
    ),
    "send again": Case(
        "POST",
        f"/v1/conversations/{PEER}/messages",
        {"send_message": messaging.SendMessageResponse(message=SENT_JSON, created=False, position=WROTE)},
        200,
        SENT,
        body={"text": "Привет\n👋", "client_message_id": "c-1"},
    ),
    "messages": Case(
        "GET",
        f"/v1/conversations/{PEER}/messages?after=0&limit=1",
        {"get_messages": messaging.GetMessagesResponse(items=ITEMS_JSON, last=4, position=WROTE)},
        200,
        page(ITEM),
        asked={"after": 0, "before": None, "limit": 1, "peer_id": PEER},
    ),
    "seen": Case(
        "PUT",
        f"/v1/conversations/{PEER}/seen",
        {"mark_seen": messaging.MarkSeenResponse(position=WROTE)},
        204,
        body={"sequence": 4},
        asked={"sequence": 4, "peer_id": PEER},
    ),
    "set": Case(
        "PATCH",
        f"/v1/conversations/{PEER}",
        {"update_conversation": messaging.UpdateConversationResponse(position=WROTE)},
        204,
        body={"muted_until": "1970-01-01T01:00:00.005+01:00", "pinned": None},
        asked={"peer_id": PEER, "muted_until": 5, "pinned": False, "archived": None, "draft": None},
    ),
    "draft": Case(
        "PATCH",
        f"/v1/conversations/{PEER}",
        {"update_conversation": messaging.UpdateConversationResponse()},
        204,
        body={"draft": None},
        asked={"peer_id": PEER, "muted_until": None, "pinned": None, "draft": ""},
    ),
    "conversations without drafts": Case(
        "GET",
        "/v1/conversations",
        {
            "list_conversations": messaging.ListConversationsResponse(
                items=b"[]", drafts_unavailable=True, position=WROTE
            )
        },
        200,
        page() | {"drafts_unavailable": True},
    ),
    "search messages": Case(
        "GET",
        f"/v1/messages?query=%D0%BF%D1%80&user_id={PEER}&limit=2&cursor=c",
        {"search_messages": messaging.SearchMessagesResponse(items=b'[{"highlights":[]}]', next="n", position=WROTE)},
        200,
        {"items": [{"highlights": []}], "next": "n"},
        asked={"query": "пр", "peer_id": PEER, "limit": 2, "cursor": "c"},
    ),
    "conversations": Case(
        "GET",
        "/v1/conversations",
        {
            "list_conversations": messaging.ListConversationsResponse(
                items=msgspec.json.encode([CONVERSATION, CONVERSATION | {"last_message": None}]), position=WROTE
            )
        },
        200,
        page(CONVERSATION, CONVERSATION | {"last_message": None}),
    ),
    "unread conversations": Case(
        "GET",
        "/v1/conversations/unread",
        {
            "count_unread": messaging.CountUnreadConversationsResponse(conversations=2, messages=5, position=WROTE),
        },
        200,
        {"unread_conversations": 2, "unread_messages": 5},
    ),
    "read by conversation": Case(
        "POST",
        "/v1/notifications/read",
        {"mark_read": messaging.MarkNotificationsReadResponse(position=WROTE)},
        204,
        body={"notification_ids": [PEER], "group": "conversation"},
        asked={"notification_ids": [PEER], "up_to": "", "by_conversation": True},
    ),
    "notifications by conversation": Case(
        "GET",
        "/v1/notifications?group=conversation",
        {"list_notifications": messaging.ListNotificationsResponse(position=WROTE)},
        200,
        page(),
        asked={"by_conversation": True},
    ),
    "notifications": Case(
        "GET",
        "/v1/notifications",
        {
            "list_notifications": messaging.ListNotificationsResponse(
                notifications=[
                    messaging.Notification(
                        notification_id=PEER, kind="friend_request", from_user_id=PEER, at=AT, read=False
                    )
                ],
                position=WROTE,
            )
        },
        200,
        page({"notification_id": PEER, "kind": "friend_request", "from_user_id": PEER, "at": SHOWN, "read": False}),
    ),
}
