"""Live events while gateways and NATS are killed and every client is thrown out: nothing lost, nothing twice."""

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from tests.e2e.people import Api, Json, Person, eventually
from tests.fix_system import wait_until
from tests.processes import family
from tests.sse_client import Refused, Stream, connect, listening


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


@pytest.mark.parametrize("fragile_system", [1], indirect=True, ids=["one-replica"])
async def test_while_messaging_stands_still_replies_arrive_without_the_text_that_they_quote(fragile_api: Api) -> None:
    api, system = fragile_api, fragile_api.system
    anna, boris = await api.friends()
    [original] = await anna.sends(boris, "original")
    # A gateway that has just started has no message in memory.
    [killed] = system.serving("gateway")
    killed.kill()

    def back() -> bool:
        return system.serving("gateway") not in ([], [killed]) and system.is_ready()

    await asyncio.to_thread(wait_until, back, "gateway back")
    async with listening(system.url, anna.access_token) as annas:
        begin = annas.id
    for text in ("first", "second"):
        body = {"text": text, "client_message_id": text, "reply_to": original["message_id"]}
        sent = await boris.ask("POST", f"/v1/conversations/{anna.user_id}/messages", json=body)
        assert sent.status_code == 201, sent.text

    async def replies() -> list[tuple[str, str | None]]:
        async with listening(system.url, anna.access_token, last_event_id=begin) as annas:
            await annas.until(lambda stream: sum(event.type == "message.sent" for event in stream.events) >= 2)
            shown = [event.data for event in annas.events if event.type == "message.sent"]
            return [(message["text"], message["reply_to"].get("text")) for message in shown]

    frozen = [process for program in system.serving("messaging") for process in family(program.pid)]
    for process in frozen:
        process.send(signal.SIGSTOP)
    try:
        assert await replies() == [("first", None), ("second", None)]
    finally:
        for process in frozen:
            process.send(signal.SIGCONT)

    async def quoted() -> bool:
        return await replies() == [("first", "original"), ("second", "original")]

    await eventually(quoted, "the quoted text")


async def ended(stream: Stream, within: float) -> bool:
    """Whether the stream ends in time, as one of a killed process does at once."""
    try:
        await stream.until_end(within)
    except TimeoutError:
        return False
    except (OSError, EOFError, ValueError):
        pass
    return True


async def first_presence(streams: list[Stream], online: bool) -> tuple[Stream, Json]:
    """The first presence event of that kind on one of the streams; those of a killed gateway end without one."""

    async def of(stream: Stream) -> tuple[Stream, Json]:
        def presence_events() -> list[Json]:
            return [
                event.data for event in stream.events if event.type == "presence" and event.data["online"] == online
            ]

        try:
            await stream.until(lambda _: bool(presence_events()), within=90)
        except (OSError, EOFError, ValueError, AssertionError):
            await asyncio.Event().wait()
        return stream, presence_events()[-1]

    tasks = [asyncio.create_task(of(stream)) for stream in streams]
    done, rest = await asyncio.wait(tasks, timeout=95, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    assert done, "no presence in time"
    return done.pop().result()


@pytest.mark.parametrize("fragile_system", [2], indirect=True, ids=["two-replicas"])
async def test_who_was_at_a_gateway_that_is_killed_is_offline_soon_and_online_again_once_they_are_back(
    fragile_api: Api,
) -> None:
    api, system = fragile_api, fragile_api.system
    anna, boris = await api.friends()

    async def is_online_everywhere() -> bool:
        # By as many connections as reach both gateways: each has then heard of Anna, and of what Boris asked the other.
        for _ in range(8):
            options = {"params": {"user_id": anna.user_id}, "headers": {"Connection": "close"}}
            answer = await boris.get("/v1/presence", **options)
            if not any(row["online"] for row in answer.json()["items"]):
                return False
        return True

    async with listening(system.url, anna.access_token) as annas:
        # If her stream outlives the first one, it is at the second.
        for gateway in system.serving("gateway"):
            async with AsyncExitStack() as stack:
                # Enough connections for some to be at each gateway.
                boriss = [await stack.enter_async_context(listening(system.url, boris.access_token)) for _ in range(10)]
                await eventually(is_online_everywhere, "Anna online", every=2)
                await asyncio.to_thread(gateway.kill)
                if not await ended(annas, within=5):
                    await asyncio.to_thread(system.wait_ready)
                    continue
                survivor, offline = await first_presence(boriss, online=False)
                assert (offline["user_id"], offline["online"]) == (anna.user_id, False)
                assert offline["last_seen_at"]
                survivor.events.clear()
                await asyncio.to_thread(system.wait_ready)
                async with listening(system.url, anna.access_token):
                    _, online = await first_presence([survivor], online=True)
                    assert online == {"user_id": anna.user_id, "online": True}
                return
    pytest.fail("the stream ended with neither gateway")
