"""Clients of a gateway's live events, and the events that they receive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket

from contracts import subjects
from contracts.events.message import MessageSent
from contracts.rpc.vestnik.contact.v1 import Friend, FriendState, GetFriendsResponse
from contracts.values.ids import new_id, pair_id
from tests.integration.gateway.conftest import Harness
from tests.sse_client import Stream

PEER = "01890a5d-ac96-774b-bcce-b302099a8057"
FRIENDS = GetFriendsResponse(friends=[Friend(user_id=PEER, state=FriendState.ACCEPTED)])


def address(harness: Harness) -> str:
    return str(harness.client.base_url).rstrip("/")


async def write(harness: Harness, count: int, text: str) -> None:
    """Messages from the peer, straight into the stream."""
    conversation = pair_id(PEER, harness.user_id)
    for begin in range(1, count + 1, 100):
        await asyncio.gather(
            *(
                harness.append(subjects.conversation(conversation), conversation, message(harness, sequence, text))
                for sequence in range(begin, min(begin + 100, count + 1))
            )
        )


@asynccontextmanager
async def socket(harness: Harness, token: str) -> AsyncIterator[ClientConnection]:
    url = address(harness).replace("http", "ws", 1) + "/v1/ws"
    async with connect_socket(url, additional_headers={"Authorization": f"Bearer {token}"}) as line:
        yield line


async def down(line: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = msgspec.json.decode(await line.recv())
    return event


async def answer(line: ClientConnection, command: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        await line.send(msgspec.json.encode({"id": "one", "command": command}).decode())
        while "answer" not in (event := await down(line)):
            pass
    return event


def message(harness: Harness, sequence: int, text: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=PEER,
        recipient_id=harness.user_id,
        sequence=sequence,
        text=text,
        client_message_id=str(sequence),
    )


def sequences(stream: Stream) -> list[int]:
    return [event.data["sequence"] for event in stream.events]
