"""Calls of messaging and contact over gRPC, as the gateway makes them, and what is stored of them."""

import secrets
from collections.abc import Sequence

import msgspec

from contracts.events.message import ReactionChanged
from contracts.messages import ConversationItem, MessageItem, SentMessage
from contracts.rpc.vestnik.contact.v1 import AddFriendRequest, ContactServiceStub, RemoveFriendRequest
from contracts.rpc.vestnik.messaging.v1 import (
    BackfillRequest,
    ClientEvent,
    DeleteMessageRequest,
    EditMessageRequest,
    GetMessagesRequest,
    ListConversationsRequest,
    ListNotificationsRequest,
    MarkSeenRequest,
    MessagingServiceStub,
    Notification,
    ReactRequest,
    ReactResponse,
    SendMessageRequest,
    SendMessageResponse,
    UpdateConversationRequest,
)
from contracts.subjects import conversation
from contracts.subjects import message as message_subject
from contracts.values.ids import pair_id
from infra.rpc.client import Client
from tests.integration.service_cluster import House, people, seen


async def befriend(house: House, one: str, other: str) -> str:
    """Returns once conversations and notifications have the friendship, which a message's position does not include."""
    contact = house.client("contact")
    stub = contact.stub(ContactServiceStub)
    await contact.call(stub.add_friend, AddFriendRequest(user_id=one, friend_id=other))
    request = AddFriendRequest(user_id=other, friend_id=one)
    position = (await contact.call(stub.add_friend, request)).position
    messaging = house.client("messaging")
    await conversations(messaging, one, position)
    await list_notifications(messaging, one, position)
    return position


async def unfriend(house: House, one: str, other: str) -> str:
    contact = house.client("contact")
    stub = contact.stub(ContactServiceStub)
    request = RemoveFriendRequest(user_id=one, friend_id=other)
    return (await contact.call(stub.remove_friend, request)).position


async def friends(house: House) -> tuple[str, str, str]:
    anna, ben = await people(house)
    return anna, ben, await befriend(house, anna, ben)


async def send(
    client: Client,
    sender: str,
    recipient: str,
    text: str,
    client_id: str | None = None,
    position: str = "",
    reply_to: str = "",
) -> SendMessageResponse:
    request = SendMessageRequest(
        sender_id=sender,
        recipient_id=recipient,
        text=text,
        client_message_id=client_id or secrets.token_hex(8),
        reply_to=reply_to,
    )
    stub = client.stub(MessagingServiceStub)
    return await client.call(stub.send_message, request, timeout=10.0, context=seen(position, sender))


def message_of(answer: SendMessageResponse) -> SentMessage:
    return msgspec.json.decode(answer.message, type=SentMessage)


async def messages(
    client: Client,
    user_id: str,
    peer_id: str,
    position: str,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> tuple[list[MessageItem], bool]:
    """A page, and whether there are more."""
    stub = client.stub(MessagingServiceStub)
    request = GetMessagesRequest(user_id=user_id, peer_id=peer_id, before=before, after=after, limit=limit)
    page = await client.call(stub.get_messages, request, context=seen(position))
    return msgspec.json.decode(page.items, type=list[MessageItem]), page.more


async def mark(client: Client, user_id: str, peer_id: str, sequence: int, position: str = "") -> str:
    stub = client.stub(MessagingServiceStub)
    request = MarkSeenRequest(user_id=user_id, peer_id=peer_id, sequence=sequence)
    return (await client.call(stub.mark_seen, request, context=seen(position))).position


async def conversations(client: Client, user_id: str, position: str) -> list[ConversationItem]:
    stub = client.stub(MessagingServiceStub)
    request = ListConversationsRequest(user_id=user_id)
    page = await client.call(stub.list_conversations, request, context=seen(position))
    return msgspec.json.decode(page.items, type=list[ConversationItem])


async def stored(house: House, one: str, other: str) -> list[int]:
    stored_messages = await house.log.read(conversation(pair_id(one, other)))
    return [message.envelope().version for message in stored_messages]


def last(answers: Sequence[SendMessageResponse]) -> str:
    return max(answers, key=lambda answer: message_of(answer).sequence).position


async def react(
    client: Client, user_id: str, peer_id: str, message_id: str, emoji: str, position: str = ""
) -> ReactResponse:
    request = ReactRequest(user_id=user_id, peer_id=peer_id, message_id=message_id, emoji=emoji)
    return await client.call(
        client.stub(MessagingServiceStub).react, request, timeout=10.0, context=seen(position, user_id)
    )


async def reactions(house: House, message_id: str) -> list[tuple[str, object]]:
    """The reactions by user, according to the stream."""
    events = [message.open().data for message in await house.log.read(message_subject(message_id))]
    return [(event.user_id, event.emoji) for event in events if isinstance(event, ReactionChanged)]


async def update(client: Client, user_id: str, peer_id: str, position: str = "", **fields: int | bool | str) -> str:
    stub = client.stub(MessagingServiceStub)
    request = UpdateConversationRequest(user_id=user_id, peer_id=peer_id, **fields)  # type: ignore[arg-type] # by name
    return (
        await client.call(stub.update_conversation, request, timeout=10.0, context=seen(position, user_id))
    ).position


async def list_notifications(client: Client, user_id: str, position: str) -> list[Notification]:
    stub = client.stub(MessagingServiceStub)
    request = ListNotificationsRequest(user_id=user_id)
    return (await client.call(stub.list_notifications, request, context=seen(position))).notifications


async def missed(client: Client, user_id: str, after: int, position: str, *, most_bytes: int = 0) -> list[ClientEvent]:
    stub = client.stub(MessagingServiceStub)
    request = BackfillRequest(user_id=user_id, after=after, most_bytes=most_bytes)
    return [event async for event in client.stream(stub.backfill, request, context=seen(position))]


async def edit(
    client: Client, user_id: str, peer_id: str, message_id: str, text: str, position: str = ""
) -> SentMessage:
    request = EditMessageRequest(user_id=user_id, peer_id=peer_id, message_id=message_id, text=text)
    stub = client.stub(MessagingServiceStub)
    answer = await client.call(stub.edit_message, request, timeout=10.0, context=seen(position, user_id))
    return msgspec.json.decode(answer.message, type=SentMessage)


async def delete(client: Client, user_id: str, peer_id: str, message_id: str, position: str = "") -> str:
    request = DeleteMessageRequest(user_id=user_id, peer_id=peer_id, message_id=message_id)
    stub = client.stub(MessagingServiceStub)
    return (await client.call(stub.delete_message, request, timeout=10.0, context=seen(position, user_id))).position


async def changes(house: House, message_id: str) -> list[str]:
    return [stored.envelope().type for stored in await house.log.read(message_subject(message_id))]
