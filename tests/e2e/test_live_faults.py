"""Live events while gateways and NATS are killed and every client is thrown out: nothing lost, nothing twice."""

import asyncio

from tests.e2e.people import Api, Json, Person
from tests.fix_system import wait_until
from tests.sse_client import Refused, Stream, connect


class Follower:
    """A client that takes up its stream again wherever it ended."""

    def __init__(self, url: str, person: Person) -> None:
        self._url = url
        self._person = person
        self._position = ""
        self._stream: Stream | None = None
        self.events: list[Json] = []
        self.connections = 0

    async def run(self) -> None:
        while True:
            try:
                stream = await connect(self._url, self._person.access_token, last_event_id=self._position)
                self._stream, self._position = stream, stream.id
                self.connections += 1
                while await stream.read():
                    self.events += [event.data for event in stream.events if event.type == "message.sent"]
                    stream.events.clear()
                    self._position = stream.id
            except Refused as refused:
                # A gateway that has just started does not follow everything yet.
                if refused.status != 503:
                    raise
            except (OSError, EOFError, ValueError, AssertionError):
                # What came whole before the line broke was taken.
                pass
            finally:
                self.drop()
            await asyncio.sleep(0.05)

    def drop(self) -> None:
        if self._stream is not None:
            self._stream.close()


async def test_no_fault_and_no_reconnect_loses_or_repeats_an_event(fragile_api: Api) -> None:
    api, system = fragile_api, fragile_api.system
    anna, boris = await api.friends()
    followers = [Follower(system.url, person) for person in (anna, boris, boris)]
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    sent: list[str] = []

    async def write() -> None:
        """One message after the other, each until it is acknowledged."""
        for number in range(10_000):
            text = f"number {number}"
            while True:
                try:
                    if (await anna.write(boris, text, f"m{number}")).status_code in {200, 201}:
                        break
                except Exception:
                    await asyncio.sleep(0.05)
            sent.append(text)

    async def grows_by(number: int) -> None:
        wanted = len(sent) + number
        async with asyncio.timeout(60):
            while len(sent) < wanted:
                await asyncio.sleep(0.02)

    async def connected(times: int) -> None:
        async with asyncio.timeout(60):
            while not all(follower.connections >= times for follower in followers):
                await asyncio.sleep(0.02)

    try:
        await connected(1)
        writing = asyncio.create_task(write())
        for times in range(1, 6):
            await connected(times)
            await grows_by(8)
            for follower in followers:
                follower.drop()
        for part in ("gateway", "nats"):
            killed = system.serving(part)
            for process in killed:
                process.kill()

            def back(part: str = part, killed: list[object] = [*killed]) -> bool:  # noqa: B006 - bound now
                return len(set(system.serving(part)) - set(killed)) == len(killed) and system.is_ready()

            await asyncio.to_thread(wait_until, back, f"{part} back", within=60)
            await grows_by(10)
        writing.cancel()
        async with asyncio.timeout(60):
            while any(len(follower.events) < len(sent) for follower in followers):
                await asyncio.sleep(0.05)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for follower in followers:
        assert follower.connections > 5
        got = [data["sequence"] for data in follower.events]
        assert got == list(range(1, len(got) + 1))
        assert [data["text"] for data in follower.events][: len(sent)] == sent
