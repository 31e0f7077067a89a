"""Calls on one stream: each gets its own answer, and one that ends, is too large or finds no room ends alone.

That they end as calls by themselves do is what test_rpc.py asks of both.
"""

import asyncio
from typing import Any

import pytest
from grpclib import Status

from contracts.errors import DeadlineExceeded, Invalid, Overloaded, VestnikError
from contracts.rpc.vestnik.auth.v1 import GetUserRequest, GetUserResponse, User
from infra.embedded.ports import free_port
from infra.rpc import server
from infra.rpc.error_mapping import was_executed
from infra.rpc.multiplex import messages as wire
from infra.rpc.multiplex import stream as line
from infra.rpc.multiplex.send_queue import SendQueue
from infra.rpc.transport import in_flight
from infra.rpc.transport.framing import LARGEST_MESSAGE
from infra.security.secrets import Secrets
from tests.conditions import until
from tests.integration.infra.auth_replica import SOON, known, serving
from tests.integration.infra.multiplexed_calls import WITHIN, Held, ask, calling, opened


async def test_many_calls_share_one_stream_and_each_gets_its_own_answer(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[int] = []
    read = wire.read_calls

    def counted(message: bytes) -> Any:  # noqa: ANN401 - passed on
        calls, _ = read(message)
        messages.append(len(list(calls)))
        return read(message)

    monkeypatch.setattr(wire, "read_calls", counted)
    port = free_port()
    async with serving(secrets, known, port) as running, calling(secrets, port) as client:
        users = [f"user-{number}" for number in range(300)]
        assert await asyncio.gather(*(ask(client, user) for user in users)) == users
        assert len(running._streams) == 1
    assert sum(messages) == 300
    assert len(messages) < 30


async def test_a_caller_that_goes_away_ends_its_call_and_no_other(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        going, staying = asyncio.create_task(ask(client, "a")), asyncio.create_task(ask(client, "b"))
        await until(lambda: held.begun["a"] and held.begun["b"])
        going.cancel()
        await until(lambda: held.cut_off["a"])
        held.go.set()
        assert await staying == "b"
        assert not held.cut_off["b"]


async def test_a_call_that_its_caller_waits_no_longer_for_is_cut_off(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        with pytest.raises(DeadlineExceeded):
            await ask(client, timeout=0.2)
        await until(lambda: held.cut_off["u"])
        held.go.set()
        assert await ask(client) == "u"


async def test_a_deadline_is_kept_by_the_service_too(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), opened(secrets, port) as raw:
        await raw.send(raw.call(1, "u", timeout=0.2))
        answer = await raw.answer()
        assert (answer.id, answer.status) == (1, Status.DEADLINE_EXCEEDED.value)
        assert held.cut_off["u"]


async def test_no_call_is_longer_than_the_longest_whatever_its_caller_says(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LONGEST_CALL", 0.2)
    held, port = Held(), free_port()
    async with serving(secrets, held, port), opened(secrets, port) as raw:
        await raw.send(raw.call(1, "u", timeout=4_000_000))
        assert (await raw.answer()).status == Status.DEADLINE_EXCEEDED.value


async def test_a_full_line_takes_no_more_calls(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MOST_CALLS", 3)
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        running = [asyncio.create_task(ask(client, f"user-{number}")) for number in range(3)]
        await until(lambda: len(held.begun) == 3)
        with pytest.raises(Overloaded):
            await ask(client, timeout=SOON)
        held.go.set()
        await asyncio.gather(*running)
        assert await ask(client) == "u"


async def test_a_full_service_says_that_it_did_not_begin_the_call(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "MOST_CALLS", 2)
    held, port = Held(), free_port()
    async with serving(secrets, held, port), opened(secrets, port) as raw:
        await raw.send(raw.call(1, "a") + raw.call(2, "b") + raw.call(3, "c"))
        refused = await raw.answer()
        error = wire.failure(refused)
        assert (refused.id, error.status, was_executed(error)) == (3, Status.RESOURCE_EXHAUSTED, False)
        held.go.set()
        assert {(await raw.answer()).id for _ in range(2)} == {1, 2}
        await raw.send(raw.call(4, "d"))
        assert (await raw.answer()).status == Status.OK.value


async def test_a_caller_that_takes_no_answers_is_not_served_without_end(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = "x" * 300_000
    stopped, room = asyncio.Event(), SendQueue.room
    served: list[str] = []

    async def answer(message: GetUserRequest) -> GetUserResponse:
        served.append(message.user_id)
        return GetUserResponse(user=User(user_id="u", email=large))

    async def watched(queue: SendQueue) -> None:
        if not queue._room.is_set():
            stopped.set()
        await room(queue)

    monkeypatch.setattr(SendQueue, "room", watched)
    port = free_port()
    async with serving(secrets, answer, port), opened(secrets, port) as raw:

        async def flood() -> None:
            for number in range(1, 121):
                await raw.send(raw.call(number, "u", padding=20_000))

        flooding = asyncio.create_task(flood())
        await asyncio.wait_for(stopped.wait(), WITHIN)
        # What fits into the windows of both ends and into the queue between them: far from all of it.
        assert 0 < len(served) < 100
        assert not flooding.done()
        answers = [await raw.answer() for _ in range(120)]
        await flooding
        assert sorted(reply.id for reply in answers) == list(range(1, 121))


async def test_a_request_that_is_too_large_ends_itself_alone(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        other = asyncio.create_task(ask(client, "b"))
        await until(lambda: held.begun["b"])
        with pytest.raises(Invalid, match="larger"):
            await ask(client, "u" * LARGEST_MESSAGE)
        held.go.set()
        assert await other == "b"


async def test_a_closed_client_leaves_no_call_waiting(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        waiting = asyncio.create_task(ask(client))
        await until(lambda: held.begun["u"])
        client.close()
        with pytest.raises(VestnikError):
            await waiting
        await until(lambda: held.cut_off["u"])
