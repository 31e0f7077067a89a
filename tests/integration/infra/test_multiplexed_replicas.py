"""Calls whose stream is cut, or whose replica hangs, stops or dies: which are made again, and which are not."""

import asyncio
from collections import Counter
from itertools import count

import pytest

from contracts.errors import DeadlineExceeded, Unavailable
from contracts.rpc.vestnik.auth.v1 import GetUserRequest, GetUserResponse
from infra.embedded.ports import free_port
from infra.rpc import client as caller
from infra.rpc import server
from infra.rpc.multiplex import channel as carrier
from infra.rpc.multiplex import stream as line
from infra.rpc.server import RpcServer
from infra.security.secrets import Secrets
from tests.conditions import until
from tests.integration.infra.auth_replica import SOON, Answer, Auth, known, serving
from tests.integration.infra.multiplexed_calls import GET_USER, WITHIN, Held, ask, calling, proxied


async def test_a_cut_line_leaves_it_open_whether_a_call_took_effect(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), proxied(port) as (proxy, way), calling(secrets, way) as client:
        running = asyncio.create_task(ask(client))
        await until(lambda: held.begun["u"])
        proxy.cut()
        with pytest.raises(DeadlineExceeded, match="is unknown"):
            await running
        # No caller waits for its answer any more.
        await until(lambda: held.cut_off["u"])
        assert held.begun["u"] == 1


async def test_what_may_be_repeated_is_repeated_on_a_new_line(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), proxied(port) as (proxy, way), calling(secrets, way) as client:
        running = asyncio.create_task(ask(client, idempotent=True))
        await until(lambda: held.begun["u"])
        held.go.set()
        held.go = asyncio.Event()
        proxy.cut()
        await until(lambda: held.begun["u"] == 2 or running.done())
        held.go.set()
        assert await running == "u"


async def test_a_call_that_was_not_sent_when_the_line_was_lost_goes_elsewhere() -> None:
    lost = line.CallStream(lambda _: None)
    call = asyncio.create_task(lost.ask(GET_USER, b"", timeout=WITHIN, metadata={}))
    await until(lambda: lost._waiting)
    lost.lose()
    # As of a connection that was refused: Client.call makes it again whatever it is.
    with pytest.raises(ConnectionError):
        await call


async def test_a_replica_that_has_fallen_silent_is_left_for_another(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, alive = free_port(), free_port()
    async with (
        serving(secrets, known, silent),
        serving(secrets, known, alive),
        proxied(silent) as (proxy, way),
        calling(secrets, way, alive) as client,
    ):
        assert [await ask(client) for _ in range(4)] == ["u"] * 4
        monkeypatch.setattr(carrier, "OPENING", 0.3)
        proxy.fall_silent()
        # On its way when it happens, or sent before its silence is noticed.
        outcomes = await asyncio.gather(*(ask(client, timeout=1.5) for _ in range(4)), return_exceptions=True)
        assert DeadlineExceeded in set(map(type, outcomes)) <= {str, DeadlineExceeded}
        # From now on it is known: no call waits for it.
        assert [await ask(client) for _ in range(6)] == ["u"] * 6
        proxy.speak_again()
        assert [await ask(client) for _ in range(4)] == ["u"] * 4


async def test_calls_that_wait_at_a_replica_that_hangs_are_made_at_another_if_they_may_be_repeated(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LONGEST_CALL", 10 * WITHIN)
    monkeypatch.setattr(caller, "_KEEPALIVE", 10 * WITHIN)
    held, first, second = Held(), free_port(), free_port()
    async with (
        serving(secrets, held, first),
        proxied(first) as (proxy, way),
        serving(secrets, known, second),
        calling(secrets, way, second) as client,
    ):
        running = [asyncio.create_task(ask(client, user, idempotent=True)) for user in ("a", "b", "c", "d")]
        await until(lambda: sum(task.done() for task in running) == 2 and sum(held.begun.values()) == 2)
        once = asyncio.create_task(ask(client, "once", timeout=2 * WITHIN))
        other = asyncio.create_task(ask(client, "once", timeout=2 * WITHIN))
        await until(lambda: held.begun["once"])
        proxy.fall_silent()
        assert await asyncio.gather(*running) == ["a", "b", "c", "d"]
        # New calls do not try it.
        assert [await ask(client, timeout=WITHIN / 2) for _ in range(4)] == ["u"] * 4
        assert not once.done() or not other.done()
        # It answers after all, and is used again.
        proxy.speak_again()
        held.go.set()
        assert [await once, await other] == ["once", "once"]
        while not held.begun["later"]:
            await ask(client, "later")


async def test_a_slow_call_is_left_to_a_replica_that_answers_pings(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LONGEST_CALL", 10 * WITHIN)
    held, first, second = Held(), free_port(), free_port()
    async with (
        serving(secrets, held, first),
        serving(secrets, known, second),
        calling(secrets, first, second) as client,
    ):
        running = [asyncio.create_task(ask(client, user, idempotent=True)) for user in ("a", "b")]
        await until(lambda: sum(held.begun.values()) == 1 and any(task.done() for task in running))
        [watch] = [replica._line._silence for replica in client._replicas.values() if replica._line._waiting]  # type: ignore[union-attr]
        pings, send_ping = count(), watch._ping

        def counted() -> None:
            next(pings)
            send_ping()

        watch._ping = counted
        await until(lambda: repr(pings) == "count(3)")
        assert not watch.silent
        held.go.set()
        assert await asyncio.gather(*running) == ["a", "b"]
        assert sum(held.begun.values()) == 1


async def test_calls_do_not_wait_for_a_connection_to_a_replica_that_hangs_while_there_is_another(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "OPENING", 2 * WITHIN)
    monkeypatch.setattr(caller, "_KEEPALIVE", 10 * WITHIN)
    first, second = free_port(), free_port()
    async with (
        serving(secrets, known, first),
        proxied(first) as (proxy, way),
        serving(secrets, known, second),
        calling(secrets, way, second) as client,
    ):
        proxy.fall_silent()
        async with asyncio.timeout(WITHIN):
            assert await asyncio.gather(*(ask(client, f"{number}") for number in range(4))) == ["0", "1", "2", "3"]


async def test_a_replica_that_is_not_there_is_asked_again_after_a_rest(secrets: Secrets) -> None:
    gone, alive = free_port(), free_port()
    async with serving(secrets, known, alive), calling(secrets, gone, alive) as client:
        assert [await ask(client) for _ in range(40)] == ["u"] * 40
        came: list[str] = []

        async def remember(message: GetUserRequest) -> GetUserResponse:
            came.append(message.user_id)
            return await known(message)

        async with serving(secrets, remember, gone), asyncio.timeout(WITHIN):
            while not came:
                await ask(client)


async def test_a_stopping_replica_answers_what_it_has_and_everything_else_goes_elsewhere(secrets: Secrets) -> None:
    """Under load, with calls that must not be made twice: none is lost, refused, or doubled."""
    done: Counter[str] = Counter()

    async def work(message: GetUserRequest) -> GetUserResponse:
        await asyncio.sleep(0.001)
        done[message.user_id] += 1
        return await known(message)

    ports = free_port(), free_port()
    asked: list[str] = []
    async with proxied(ports[0]) as one, proxied(ports[1]) as other, calling(secrets, one[1], other[1]) as client:
        running = [await _started(secrets, work, port) for port in ports]
        stop = asyncio.Event()

        async def load(name: str) -> None:
            while not stop.is_set():
                asked.append(user := f"{name}-{len(asked)}")
                assert await ask(client, user) == user

        loading = [asyncio.create_task(load(str(number))) for number in range(20)]
        for _ in range(3):
            for index, port in enumerate(ports):

                def has_progressed(before: int = len(done)) -> bool:
                    return len(done) > before + 100

                await until(has_progressed)
                await running[index].drain(WITHIN)
                # As when the process has ended.
                (one, other)[index][0].cut()
                running[index] = await _started(secrets, work, port)
        stop.set()
        await asyncio.gather(*loading)
    for replica in running:
        await replica.drain(1.0)
    assert set(done.values()) == {1}
    assert set(done) == set(asked)


async def _started(secrets: Secrets, answer: Answer, port: int) -> RpcServer:
    made = RpcServer("auth", [Auth(answer)], secrets=secrets)
    await made.start("127.0.0.1", port)
    made.set_ready(True)
    return made


async def test_a_killed_replica_costs_no_repeatable_call_its_answer(secrets: Secrets) -> None:
    held, dying, alive = Held(), free_port(), free_port()
    async with serving(secrets, known, alive), calling(secrets, dying, alive) as client:
        async with serving(secrets, held, dying):
            calls = [asyncio.create_task(ask(client, f"user-{number}", idempotent=True)) for number in range(20)]
            await until(lambda: len(held.begun) == 10)
        # The server above has stopped without waiting for what it had at work.
        assert await asyncio.gather(*calls) == [f"user-{number}" for number in range(20)]
        assert len(held.cut_off) == 10


async def test_with_no_replica_left_a_call_is_unavailable(secrets: Secrets) -> None:
    port = free_port()
    async with calling(secrets, port) as client:
        async with serving(secrets, known, port):
            assert await ask(client) == "u"
        with pytest.raises(Unavailable):
            await ask(client, timeout=SOON)
