"""Steady traffic of two people, and the check that no message was lost, doubled, reordered or not delivered."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.rehearsal.people import Message, Person

# Seconds between two messages of one sender.
_EVERY = 0.1
_DELIVERED_WITHIN = 60.0


class Traffic:
    def __init__(self, people: Sequence[Person]) -> None:
        self.people = people
        self._stop = asyncio.Event()

    @property
    def acknowledged(self) -> int:
        return sum(len(person.acknowledged) for person in self.people)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Each of the two sends to the other over REST and the WebSocket, reads, and follows over both transports."""
        one, other = self.people
        for person in self.people:
            await person.begin_to_follow()
        async with asyncio.TaskGroup() as tasks:
            followers = [
                tasks.create_task(follow)
                for person in self.people
                for follow in (person.follow_by_events(), person.follow_by_websocket())
            ]
            senders = [
                tasks.create_task(self._send(sender, receiver, live=live))
                for sender, receiver in ((one, other), (other, one))
                for live in (False, True)
            ]
            senders += [tasks.create_task(self._read(one, other)), tasks.create_task(self._read(other, one))]
            try:
                yield
                self._stop.set()
                await asyncio.gather(*senders)
                await self._all_delivered()
            finally:
                for person in self.people:
                    person.leave()
                for task in (*senders, *followers):
                    task.cancel()

    async def grows_by(self, messages: int, within: float = 120.0) -> None:
        """Waits until each person had some more messages acknowledged."""
        goals = [len(person.acknowledged) + messages for person in self.people]
        try:
            async with asyncio.timeout(within):
                while any(len(person.acknowledged) < goal for person, goal in zip(self.people, goals, strict=True)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            failures = dict(self.people[0].failures.counts)
            raise AssertionError(f"no {messages} more messages of each within {within:.0f} s; {failures}") from None

    async def check(self) -> int:
        """Compares the histories of both with what was acknowledged and delivered; returns the number of messages."""
        one, other = self.people
        histories = [await self._history(one, other), await self._history(other, one)]
        assert histories[0] == histories[1], "the two people see different conversations"
        history = histories[0]
        assert [message.sequence for message in history] == list(range(1, len(history) + 1)), "gaps or repeats"
        stored = Counter(message.text for message in history)
        assert set(stored.values()) == {1}, f"stored twice: {[text for text, count in stored.items() if count > 1]}"
        for person in self.people:
            lost = set(person.acknowledged) - set(history)
            assert not lost, f"acknowledged to {person.name} and lost or changed: {lost}"
            for transport, delivered in person.delivered.items():
                assert delivered == history, _difference(f"{transport} of {person.name}", delivered, history)
        return len(history)

    async def _send(self, sender: Person, receiver: Person, *, live: bool) -> None:
        for number in itertools.count(1):
            if self._stop.is_set():
                return
            await sender.send(receiver, f"{'live' if live else 'rest'} {number} of {sender.name}", live=live)
            await asyncio.sleep(_EVERY)

    async def _history(self, reader: Person, other: Person) -> list[Message]:
        """Reads until the read model has every message that was acknowledged to either of the two."""
        try:
            async with asyncio.timeout(_DELIVERED_WITHIN):
                while len(history := await reader.history(other)) < self.acknowledged:
                    await asyncio.sleep(0.5)
        except TimeoutError:
            return await reader.history(other)
        return history

    async def _read(self, reader: Person, other: Person) -> None:
        """Reads what each service has, so that its failures are noticed."""
        for path in itertools.cycle(("users/me", "sessions", f"profiles/{other.user_id}", "friends", "conversations")):
            if self._stop.is_set():
                return
            await reader.ask("GET", f"/v1/{path}")
            await asyncio.sleep(_EVERY)

    async def _all_delivered(self) -> None:
        """Waits until every stream has delivered as much as was acknowledged."""
        try:
            async with asyncio.timeout(_DELIVERED_WITHIN):
                while any(
                    len(delivered) < self.acknowledged
                    for person in self.people
                    for delivered in person.delivered.values()
                ):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return  # `check` says what is missing


def _difference(stream: str, delivered: Sequence[Message], history: Sequence[Message]) -> str:
    missing = [message.sequence for message in history if message not in set(delivered)]
    doubled = [message.sequence for message, count in Counter(delivered).items() if count > 1]
    return f"{stream}: {len(delivered)} of {len(history)} messages, missing {missing[:20]}, doubled {doubled[:20]}"
