"""The replay, in three phases: people, friendships, messages; each with a number of requests in flight.

Messages of one conversation are sent one by one, in the order of the file; among the waiting conversations, the one
with the earliest line is first. A message that fails permanently stops its conversation, because a repeated load would
otherwise send it out of order.
"""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Iterable

from infra.load.accounts import People
from infra.load.errors import GaveUp, Refused
from infra.load.gateway_client import problem, refusal
from infra.load.history_file import History, Line, Pair
from infra.load.http_connections import Response
from infra.load.identities import Namespace
from infra.load.journal import Journal
from infra.load.report import Tally

# The contact service learns of a user shortly after the registration.
_KNOWN_WITHIN = 30.0
_ASK_AGAIN_AFTER = 0.1


class Replay:
    """One run over a history; after `stop`, requests under way finish and no others begin."""

    def __init__(
        self, history: History, namespace: Namespace, people: People, journal: Journal, *, in_flight: int
    ) -> None:
        self._history = history
        self._namespace = namespace
        self._people = people
        self._journal = journal
        self._in_flight = in_flight
        self._stopping = False
        self.tally = Tally()

    def stop(self) -> None:
        self._stopping = True

    @property
    def stopped(self) -> bool:
        return self._stopping

    async def run(self) -> None:
        """Does everything that the journal does not have yet; errors of single requests are counted.

        Raises:
            LoadError: the load as a whole cannot continue.
        """
        await self._all(self._history.people, self._meet)
        await self._all(self._history.conversations, self._befriend)
        began = time.monotonic()
        try:
            await self._send_all()
        finally:
            self.tally.seconds = time.monotonic() - began

    async def _all(self, items: Iterable[str] | Iterable[Pair], work: Callable[..., Awaitable[None]]) -> None:
        waiting = iter(items)

        async def worker() -> None:
            for item in waiting:
                if self._stopping:
                    return
                try:
                    await work(item)
                except (Refused, GaveUp) as error:
                    self.tally.failed(str(item), error)

        await self._workers(worker)

    async def _workers(self, worker: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await worker()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._in_flight):
                group.create_task(run())

    async def _meet(self, name: str) -> None:
        if name not in self._journal.people:
            await self._people.meet(name)
        self.tally.users += 1

    async def _befriend(self, pair: Pair) -> None:
        one, other = pair
        if one not in self._journal.people or other not in self._journal.people:
            return  # the failed registration was counted
        if pair not in self._journal.friends:
            await self._add(one, other)
            await self._add(other, one)
            self._journal.befriended(pair)
        self.tally.friendships += 1

    async def _add(self, one: str, other: str) -> None:
        deadline = time.monotonic() + _KNOWN_WITHIN
        path = f"/v1/friends/{self._people.user_id(other)}"
        while True:
            response = await self._people.ask(one, "PUT", path)
            if response.status in {200, 201}:
                return
            if problem(response).code != "user_not_found" or time.monotonic() > deadline:
                raise refusal(response)
            await asyncio.sleep(_ASK_AGAIN_AFTER)

    async def _send_all(self) -> None:
        turns = self._turns()

        async def worker() -> None:
            # A conversation that is not in the heap is with another worker, which returns it.
            while turns and not self._stopping:
                _, lines, index = heapq.heappop(turns)
                if await self._deliver(lines[index]):
                    if index + 1 < len(lines):
                        heapq.heappush(turns, (lines[index + 1].number, lines, index + 1))
                    else:
                        self.tally.conversations += 1

        await self._workers(worker)

    def _turns(self) -> list[tuple[int, list[Line], int]]:
        """Returns a heap with the next line of each unfinished conversation; counts messages sent by earlier runs."""
        turns = []
        for pair, lines in self._history.conversations.items():
            sent = next((i for i, line in enumerate(lines) if line.number not in self._journal.sent), len(lines))
            self.tally.messages += sent
            if sent == len(lines):
                self.tally.conversations += 1
            elif pair in self._journal.friends:
                turns.append((lines[sent].number, lines, sent))
        heapq.heapify(turns)
        return turns

    async def _deliver(self, line: Line) -> bool:
        began = time.perf_counter()
        try:
            response = await self._send(line)
        except (Refused, GaveUp) as error:
            self.tally.failed(f"line {line.number}", error)
            return False
        self.tally.took(time.perf_counter() - began)
        self._journal.sent_line(line.number)
        self.tally.messages += 1
        self.tally.sent += 1
        self.tally.repeated += response.status == 200
        return True

    async def _send(self, line: Line) -> Response:
        path = f"/v1/conversations/{self._people.user_id(line.recipient)}/messages"
        body = {"text": line.text, "client_message_id": self._namespace.client_message_id(line.number)}
        response = await self._people.ask(line.sender, "POST", path, body)
        if response.status not in {200, 201}:
            raise refusal(response)
        return response
