"""Multiplexed calls on one stream, and its failures: cut, silent, full, stopped, or with malformed data.

That they end as calls by themselves do is what test_rpc.py asks of both.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.exceptions import StreamTerminatedError

from contracts.errors import DeadlineExceeded, Forbidden, Invalid, Overloaded, Unavailable, VestnikError
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, GetUserRequest, GetUserResponse, User
from contracts.rpc.vestnik.calls.v1 import Answers, Calls
from infra.embedded.ports import free_port
from infra.rpc import client as caller
from infra.rpc import server, service_tokens
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.error_mapping import was_executed
from infra.rpc.multiplex import channel as carrier
from infra.rpc.multiplex import messages as wire
from infra.rpc.multiplex import stream as line
from infra.rpc.server import RpcServer
from infra.rpc.service_tokens import Issuer
from infra.rpc.transport import in_flight
from infra.rpc.transport.framing import LARGEST_MESSAGE, frame, read_frame
from infra.rpc.transport.protobuf_codec import StrictCodec
from infra.security.secrets import Secrets
from infra.settings import Settings
from tests.integration.infra.test_rpc import SOON, Answer, Auth, known, serving
from tests.integration.projections.silent_proxy import SilentProxy

GET_USER = "/vestnik.auth.v1.AuthService/GetUser"
WITHIN = 60.0


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.create(tmp_path / "secrets")


@asynccontextmanager
async def calling(secrets: Secrets, *ports: int, me: str = "gateway") -> AsyncIterator[Client]:
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    client = Client("auth", me=me, settings=Settings(addresses={"auth": addresses}), secrets=secrets, carried=True)
    try:
        yield client
    finally:
        client.close()


async def ask(client: Client, user: str = "u", *, timeout: float = WITHIN, idempotent: bool = False) -> str:
    answer = await client.call(
        client.stub(AuthServiceStub).get_user,
        GetUserRequest(user_id=user),
        timeout=timeout,
        idempotent=idempotent,
        context=Call(request_id="r", actor=user),
    )
    assert answer.user is not None
    return answer.user.user_id


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[tuple[SilentProxy, int]]:
    async with SilentProxy(f"http://127.0.0.1:{port}") as proxy:
        yield proxy, int(proxy.url.rpartition(":")[2])


async def until(condition: Any) -> None:  # noqa: ANN401 - anything that is called and says yes or no
    async with asyncio.timeout(WITHIN):
        while not condition():
            await asyncio.sleep(0.01)


class Held:
    """A handler whose calls wait until released; records which calls started, ended and were cancelled."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.cut_off: Counter[str] = Counter()
        self.go = asyncio.Event()

    async def __call__(self, message: GetUserRequest) -> GetUserResponse:
        self.begun[message.user_id] += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cut_off[message.user_id] += 1
            raise
        self.ended[message.user_id] += 1
        return await known(message)


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


async def test_a_cut_line_leaves_it_open_whether_a_call_took_effect(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), proxied(port) as (proxy, way), calling(secrets, way) as client:
        running = asyncio.create_task(ask(client))
        await until(lambda: held.begun["u"])
        proxy.cut()
        with pytest.raises(DeadlineExceeded, match="is unknown"):
            await running
        # Nobody can be told of it any more.
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
        # On its way when it happens, or asked before anybody can know.
        outcomes = await asyncio.gather(*(ask(client, timeout=1.5) for _ in range(4)), return_exceptions=True)
        assert DeadlineExceeded in set(map(type, outcomes)) <= {str, DeadlineExceeded}
        # From now on it is known: nobody waits for it in vain.
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
    served: list[str] = []

    async def answer(message: GetUserRequest) -> GetUserResponse:
        served.append(message.user_id)
        return GetUserResponse(user=User(user_id="u", email=large))

    port = free_port()
    async with serving(secrets, answer, port), opened(secrets, port) as raw:

        async def flood() -> None:
            for number in range(1, 121):
                await raw.send(raw.call(number, "u", padding=20_000))

        flooding = asyncio.create_task(flood())
        # What stands in the windows of both ends, and what waits in between; nothing near to all of it.
        await until(lambda: served)
        settled, before = 0, -1
        while settled < 20:
            await asyncio.sleep(0.02)
            settled, before = (settled + 1, before) if len(served) == before else (0, len(served))
        assert 0 < len(served) < 100
        assert not flooding.done()
        answers = [await raw.answer() for _ in range(120)]
        await flooding
        assert sorted(found.id for found in answers) == list(range(1, 121))


async def test_a_request_that_is_too_large_ends_itself_alone(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        other = asyncio.create_task(ask(client, "b"))
        await until(lambda: held.begun["b"])
        with pytest.raises(Invalid, match="larger"):
            await ask(client, "u" * LARGEST_MESSAGE)
        held.go.set()
        assert await other == "b"


class Raw:
    """A stream of calls below the level of a client: whatever is wanted goes out."""

    def __init__(self, stream: Stream[Any, Any], secrets: Secrets, token: str | None) -> None:
        self.stream = stream
        self._issuer = Issuer("gateway", secrets)
        self._token = token
        self._answers: list[wire.Answer] = []

    def call(
        self,
        number: int,
        user: str,
        *,
        timeout: float = WITHIN,
        method: str = GET_USER,
        token: str | None = None,
        padding: int = 0,
    ) -> bytes:
        metadata = {
            "authorization": token if token is not None else f"Bearer {self._issuer.token('auth', user)}",
            "x-request-id": "r" * (padding or 1),
        }
        request = bytes(GetUserRequest(user_id=user))
        return wire.call(number, method, request, timeout=timeout, metadata=metadata)

    async def send(self, message: bytes) -> None:
        await self.stream._stream.send_data(frame(message))

    async def answer(self) -> wire.Answer:
        async with asyncio.timeout(WITHIN):
            while not self._answers:
                message = await read_frame(self.stream._stream, 64 * 1024 * 1024)
                assert message is not None
                self._answers += wire.read_answers(message)[0]
        return self._answers.pop(0)

    async def end(self) -> Status:
        """How the service ends the stream."""
        async with asyncio.timeout(WITHIN):
            with self.stream._wrapper:
                while await read_frame(self.stream._stream, 64 * 1024 * 1024) is not None:
                    pass
                trailers = dict(await self.stream._stream.recv_trailers())
        return Status(int(trailers["grpc-status"]))


@asynccontextmanager
async def opened(secrets: Secrets, port: int, *, me: str = "gateway", token: str | None = None) -> AsyncIterator[Raw]:
    channel = Channel("127.0.0.1", port, codec=StrictCodec())
    token = token if token is not None else f"Bearer {Issuer(me, secrets).token('auth')}"
    stream: Stream[Any, Any] = channel.request(
        wire.PATH, Cardinality.STREAM_STREAM, Calls, Answers, metadata={"authorization": token}
    )
    try:
        async with stream:
            await stream.send_request()
            await stream.recv_initial_metadata()
            yield Raw(stream, secrets, token)
            if stream._stream.closable:
                await stream.cancel()
    except (StreamTerminatedError, GRPCError):
        # A service that has ended it by itself; one that has refused it is what the test asks for.
        if stream.initial_metadata is None or stream._trailers_only:
            raise
    finally:
        channel.close()


@pytest.mark.parametrize(
    "rubbish",
    [
        frame(b"\xff" * 64),
        frame(b"\x0a\xff\xff\xff\xff\x0f"),
        frame(b"\x0a\x05abc"),
        b"\x01\x00\x00\x00\x00",
        b"\x00\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=repr,
)
async def test_rubbish_ends_its_own_stream_and_the_calls_on_it(
    secrets: Secrets, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        decent = asyncio.create_task(ask(client, "decent"))
        await until(lambda: held.begun["decent"])
        async with opened(secrets, port) as raw:
            await raw.send(raw.call(1, "u"))
            await until(lambda: held.begun["u"])
            await raw.stream._stream.send_data(rubbish)
            assert await raw.end() is Status.INVALID_ARGUMENT
        await until(lambda: held.cut_off["u"])
        held.go.set()
        assert await decent == "decent"
    assert "Traceback" not in caplog.text


async def test_a_message_cut_anywhere_or_changed_at_random_does_no_harm(
    secrets: Secrets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    asked: set[str] = set()

    async def remember(message: GetUserRequest) -> GetUserResponse:
        asked.add(message.user_id)
        return await known(message)

    port, dice = free_port(), random.Random(8)
    async with serving(secrets, remember, port) as running, calling(secrets, port) as client:
        for _ in range(60):
            async with opened(secrets, port) as raw:
                wild = bytearray(raw.call(1, "u") + raw.call(2, "u") + wire.given_up(1))
                del wild[dice.randrange(len(wild)) :]
                for _ in range(dice.randrange(4)):
                    if wild:
                        wild[dice.randrange(len(wild))] = dice.randrange(256)
                await raw.send(bytes(wild))
        assert await ask(client) == "u"
        await until(lambda: len(running._streams) == 1 and not running._at_work.count)
    assert asked == {"u"}
    assert "Traceback" not in caplog.text


async def test_a_number_that_is_used_twice_ends_the_stream(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    for number in (1, 0):
        async with serving(secrets, held, port), opened(secrets, port) as raw:
            await raw.send(raw.call(1, "u") + raw.call(number, "u"))
            assert await raw.end() is Status.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("-", Status.UNAUTHENTICATED),
        ("Bearer x", Status.UNAUTHENTICATED),
        ("notary", Status.PERMISSION_DENIED),
        ("contact", Status.OK),
    ],
)
async def test_only_a_party_that_may_call_something_opens_a_stream(
    secrets: Secrets, token: str, status: Status
) -> None:
    port = free_port()
    shown = f"Bearer {Issuer(token, secrets).token('auth')}" if token.isalpha() else token
    async with serving(secrets, known, port):
        try:
            async with opened(secrets, port, token=shown):
                found = Status.OK
        except GRPCError as error:
            found = error.status
    assert found is status


async def test_each_call_is_made_by_the_service_and_for_the_user_that_its_own_token_names(secrets: Secrets) -> None:
    port = free_port()
    now = int(time.time())
    expired = Issuer("gateway", secrets, clock=lambda: now - service_tokens.LIFE - 60).token("auth", "u")
    tokens = {
        1: "",
        2: f"Bearer {expired}",
        3: f"Bearer {Issuer('contact', secrets).token('auth', 'u')}",
        4: f"Bearer {Issuer('gateway', secrets).token('session', 'u')}",
        5: f"Bearer {Issuer('gateway', secrets).token('auth', 'other')}",
        6: f"Bearer {Issuer('gateway', secrets).token('auth')}",
        7: f"Bearer {Issuer('gateway', secrets).token('auth', 'u')}",
    }
    async with serving(secrets, known, port), opened(secrets, port) as raw:
        for number, token in tokens.items():
            await raw.send(raw.call(number, "u", token=token))
        found = {answer.id: Status(answer.status) for answer in [await raw.answer() for _ in tokens]}
    unknown, denied = Status.UNAUTHENTICATED, Status.PERMISSION_DENIED
    assert found == {1: unknown, 2: unknown, 3: unknown, 4: unknown, 5: denied, 6: denied, 7: Status.OK}


async def test_a_method_that_is_not_there_or_streams_is_not_carried(secrets: Secrets) -> None:
    port = free_port()
    async with serving(secrets, known, port), opened(secrets, port) as raw:
        await raw.send(raw.call(1, "u", method="/vestnik.auth.v1.AuthService/Nothing"))
        await raw.send(raw.call(2, "u", method=wire.PATH))
        assert {(await raw.answer()).status for _ in range(2)} == {Status.UNIMPLEMENTED.value}


async def test_a_client_that_acts_for_another_user_is_refused(secrets: Secrets) -> None:
    port = free_port()
    async with serving(secrets, known, port), calling(secrets, port) as client:
        stub = client.stub(AuthServiceStub)
        with pytest.raises(Forbidden):
            await client.call(stub.get_user, GetUserRequest(user_id="b"), context=Call(request_id="r", actor="a"))


async def test_a_line_outlives_the_token_that_opened_it_and_a_change_of_keys(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time() - service_tokens.LIFE + 40]
    monkeypatch.setattr(service_tokens, "_CHECK_SECONDS", 0.0)
    port = free_port()
    async with serving(secrets, known, port) as running, calling(Secrets.load(tmp_path / "secrets"), port) as client:
        client._issuer = Issuer("gateway", Secrets.load(tmp_path / "secrets"), clock=lambda: now[0])
        assert await ask(client) == "u"
        (stream,) = running._streams
        first = client._issuer.token("auth", "u")
        secrets.rotate_service_keys()
        now[0] = time.time()
        assert await ask(client) == "u"
        assert client._issuer.token("auth", "u") != first
        assert running._streams == {stream}


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
            for place, port in enumerate(ports):
                until_now = len(done)
                await until(lambda before=until_now: len(done) > before + 100)
                await running[place].drain(WITHIN)
                # As when the process has ended.
                (one, other)[place][0].cut()
                running[place] = await _started(secrets, work, port)
        stop.set()
        await asyncio.gather(*loading)
    for each in running:
        await each.drain(1.0)
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


async def test_a_closed_client_leaves_no_call_waiting(secrets: Secrets) -> None:
    held, port = Held(), free_port()
    async with serving(secrets, held, port), calling(secrets, port) as client:
        waiting = asyncio.create_task(ask(client))
        await until(lambda: held.begun["u"])
        client.close()
        with pytest.raises(VestnikError):
            await waiting
        await until(lambda: held.cut_off["u"])
