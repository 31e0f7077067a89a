"""Appends events of conversations, with the right versions and append conditions."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, seal
from contracts.events.event import Event
from contracts.events.message import MessageSeen, MessageSent
from contracts.values.ids import new_id, pair_id
from projections.engine import Projection, Runners
from streams.log import Append, Log

# Seconds; enough for a slow machine.
PATIENCE = 60


class Writer:
    """Tracks the last sequence and version of each subject, and appends events after them."""

    def __init__(self, nc: Client) -> None:
        self._log = Log(nc)
        self._last: dict[str, tuple[int, int]] = {}

    async def append(self, subject: str, *events: Event) -> int:
        """Appends the events on one subject as an atomic batch; returns the last sequence."""
        sequence, version = self._last.get(subject, (0, 0))
        appends = [
            Append(
                subject=subject,
                expected=sequence,
                envelope=seal(
                    event, aggregate_id=subject.rsplit(".", 1)[1], version=version + index, provenance=Provenance()
                ),
            )
            for index, event in enumerate(events, start=1)
        ]
        last = (
            (await self._log.append_together(appends))[-1] if len(appends) > 1 else await self._log.append(appends[0])
        )
        self._last[subject] = (last, version + len(events))
        return last

    def moved(self, subject: str, sequence: int) -> None:
        """Records that another writer has appended to the subject."""
        self._last[subject] = (sequence, self._last.get(subject, (0, 0))[1])

    async def say(self, conversation: str, *texts: str) -> int:
        """Appends messages to a conversation; returns the last sequence in the stream."""
        _, version = self._last.get(subjects.conversation(conversation), (0, 0))
        return await self.append(
            subjects.conversation(conversation),
            *(sent(text, version + index) for index, text in enumerate(texts, start=1)),
        )

    async def fill(self, conversations: Sequence[str], rounds: int) -> int:
        """Appends `rounds` messages to each of the conversations; returns the last sequence."""
        last = 0
        for conversation in conversations:
            for start in range(0, rounds, 500):
                last = await self.say(
                    conversation, *(f"text {number}" for number in range(start, min(start + 500, rounds)))
                )
        return last


class Opened(Protocol):
    async def __call__(self, *projections: type[Projection], nc: Client | None = None) -> Runners: ...


SENDER, RECIPIENT = new_id(), new_id()


def sent(text: str, sequence: int) -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=SENDER,
        recipient_id=RECIPIENT,
        sequence=sequence,
        text=text,
        client_message_id=str(sequence),
    )


def seen(conversation: str, sequence: int) -> MessageSeen:
    return MessageSeen(conversation_id=conversation, reader_id=RECIPIENT, peer_id=SENDER, sequence=sequence)


def conversation_ids(number: int) -> list[str]:
    return [pair_id(new_id(), new_id()) for _ in range(number)]


async def until_ready(runners: Runners) -> None:
    async with asyncio.timeout(PATIENCE):
        while not runners.ready():
            await asyncio.sleep(0.01)
