"""A history of acknowledged writes, checked against the system.

Traffic keeps going whatever happens to the system, as clients do: an answer that did not come, or 503, is a reason to
send the same thing again. Everything that was answered with success goes into the history; afterwards every word of
it must be found, once, in its place.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx

from tests.e2e.people import Api, Json, Person, eventually, items

_AGAIN = frozenset({429, 502, 503, 504})
_PATIENCE = 60.0
_PAGE = 200


class History:
    """The conversations of each pair: the acknowledged messages."""

    def __init__(self, pairs: list[tuple[Person, Person]]) -> None:
        self.pairs = pairs
        # By pair, in the order in which the answers came.
        self.acknowledged: list[list[Json]] = [[] for _ in pairs]
        # Answers that are neither success nor a reason to try again.
        self.refused: list[str] = []
        # How often something had to be sent again.
        self.repeated = 0
        self._stopping = False

    @classmethod
    async def among(cls, api: Api, pairs: int) -> "History":
        return cls(list(await asyncio.gather(*(api.friends() for _ in range(pairs)))))

    @property
    def messages(self) -> int:
        return sum(map(len, self.acknowledged))

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator["History"]:
        """Both users of every pair send one message after the other while the body runs."""
        self._stopping = False
        async with asyncio.TaskGroup() as group:
            for index, (one, other) in enumerate(self.pairs):
                group.create_task(self._write(index, one, other))
                group.create_task(self._write(index, other, one))
            try:
                yield self
            finally:
                self._stopping = True

    async def grows_by(self, messages: int, *, within: float = 60.0) -> None:
        """Waits until the given number of further messages was acknowledged."""
        target = self.messages + messages

        async def reached() -> bool:
            return self.messages >= target

        await eventually(reached, f"{messages} more messages acknowledged", within=within)

    async def check(self) -> None:
        """Asserts that each acknowledged message is stored once, unchanged, and that sequences are dense for both."""
        assert self.refused == []
        for (one, other), acknowledged in zip(self.pairs, self.acknowledged, strict=True):
            expected = {message["message_id"]: message for message in acknowledged}
            assert len(expected) == len(acknowledged), "two messages with one id"
            for reader, writer in ((one, other), (other, one)):
                read = await _everything(reader, writer, len(acknowledged))
                assert [message["sequence"] for message in read] == list(range(1, len(read) + 1))
                assert _bare(read) == _bare(sorted(acknowledged, key=lambda message: int(message["sequence"])))

    async def _write(self, index: int, one: Person, other: Person) -> None:
        number = 0
        while not self._stopping:
            number += 1
            answer = await self._send_until_acknowledged(one, other, f"{number} of {one.username}", uuid4().hex)
            if answer is not None:
                self.acknowledged[index].append(answer)

    async def _send_until_acknowledged(
        self, one: Person, other: Person, text: str, client_message_id: str
    ) -> Json | None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                response = await one.write(other, text, client_message_id)
            except httpx.TransportError:
                pass
            else:
                if response.status_code in {200, 201}:
                    answer: Json = response.json()
                    return answer
                if response.status_code not in _AGAIN:
                    self.refused.append(response.text)
                    return None
            self.repeated += 1
            await asyncio.sleep(0.02)
        self.refused.append(f"no answer within {_PATIENCE:.0f} s")
        return None


async def _everything(reader: Person, writer: Person, at_least: int) -> list[Json]:
    """Reads the whole conversation, once the read model has every acknowledged message."""

    async def caught_up() -> list[Json]:
        read: list[Json] = []
        while True:
            query = {"after": read[-1]["sequence"] if read else 0, "limit": _PAGE}
            answer = await reader.get(f"/v1/conversations/{writer.user_id}/messages", params=query)
            if answer.status_code in _AGAIN:
                return []
            page = items(answer)
            if not page:
                return read if len(read) >= at_least else []
            read += page

    return await eventually(caught_up, f"{at_least} messages in the read model", within=60) if at_least else []


def _bare(messages: list[Json]) -> list[tuple[object, ...]]:
    return [tuple(m[field] for field in ("message_id", "sequence", "sender_id", "text", "sent_at")) for m in messages]
