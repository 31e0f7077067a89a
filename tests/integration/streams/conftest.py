"""A small domain for the tests of streams: conversations whose state is the number of messages."""

import asyncio
from datetime import datetime

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, seal
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.subjects import conversation
from contracts.values.ids import new_id
from streams.log import Append, Log
from streams.repository import Repository

SENDER, RECIPIENT = new_id(), new_id()
# Seconds until an append that is refused immediately and retried fails: just before the next attempt. An attempt that
# is cut off could have taken effect, which would be a different outcome.
SHORT_PATIENCE = 1.1


def sent(sequence: int, text: str = "hello") -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=SENDER,
        recipient_id=RECIPIENT,
        sequence=sequence,
        text=text,
        client_message_id=new_id(),
    )


def append_to(conversation_id: str, *, expected: int = 0, version: int = 1, text: str = "hello") -> Append:
    return Append(
        subject=conversation(conversation_id),
        expected=expected,
        envelope=seal(sent(version, text), aggregate_id=conversation_id, version=version, provenance=Provenance()),
    )


async def fill(log: Log, count: int, conversation_id: str = "a") -> None:
    """Appends `count` events to a conversation without other writers."""
    last = await log.last(conversation(conversation_id))
    expected, version = (last.sequence, last.envelope().version) if last else (0, 0)
    for start in range(0, count, 1_000):
        versions = range(version + start + 1, version + min(start + 1_000, count) + 1)
        page = [append_to(conversation_id, expected=expected, version=next_version) for next_version in versions]
        expected = (await log.append_together(page))[-1]


async def until_noticed(nats: Client) -> None:
    """Waits until the client has noticed that its server is gone; the outcome of earlier sends is unknown to it."""
    async with asyncio.timeout(60):
        while nats.is_connected:
            await asyncio.sleep(0.01)


def evolve(state: int, event: Event, at: datetime) -> int:
    assert isinstance(event, MessageSent)
    return event.sequence


def counting(log: Log, *, tail_only: bool = False, capacity: int = 1_000) -> Repository[int]:
    """A repository whose state is the sequence of the last message."""
    return Repository(log, subject=conversation, initial=0, evolve=evolve, tail_only=tail_only, capacity=capacity)


@pytest.fixture
def log(streams: Client) -> Log:
    return Log(streams)
