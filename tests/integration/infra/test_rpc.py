"""gRPC over real sockets: authentication, mapping of errors, safe retries, draining of a server."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from grpclib import GRPCError, Status
from grpclib.protocol import H2Protocol

from contracts.errors import (
    DeadlineExceeded,
    Invalid,
    NoQuorum,
    Overloaded,
    ReadModelBehind,
    Unavailable,
    UserNotFound,
    VestnikError,
    Violation,
)
from contracts.positions import Position
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, GetUserRequest, GetUserResponse
from contracts.tracing.spans import SpanKind
from infra.embedded.ports import free_port
from infra.rpc.call_context import Call, current
from infra.rpc.client import Client
from infra.rpc.health import is_serving
from infra.rpc.transport.channel import Channel
from infra.security.secrets import Secrets
from infra.settings import Settings
from tests.integration.infra.auth_replica import SOON, Answer, known, serving
from tests.recording_tracer import SAMPLED, UNSAMPLED, recording

# Whether the calls of a test go together on a stream: they end in the same way.
_CARRIED = False


@pytest.fixture(params=[False, True], ids=["by itself", "carried"], autouse=True)
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_CARRIED", request.param)


@asynccontextmanager
async def calling(
    secrets: Secrets, *ports: int, me: str = "gateway", carried: bool | None = None
) -> AsyncIterator[Client]:
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    carried = _CARRIED if carried is None else carried
    client = Client("auth", me=me, settings=Settings(addresses={"auth": addresses}), secrets=secrets, carried=carried)
    try:
        yield client
    finally:
        client.close()


FOR_U = Call(request_id="r", actor="u")


async def ask(
    client: Client,
    *,
    timeout: float = 5.0,
    idempotent: bool = False,
    context: Call = FOR_U,
    about: str | None = None,
) -> str:
    stub = client.stub(AuthServiceStub)
    answer = await client.call(
        stub.get_user, GetUserRequest(user_id="u"), timeout=timeout, idempotent=idempotent, context=context, about=about
    )
    assert answer.user is not None
    return answer.user.user_id


async def test_a_call_carries_the_request_id_the_position_and_the_actor(secrets: Secrets) -> None:
    seen: list[Call] = []

    async def remember(message: GetUserRequest) -> GetUserResponse:
        seen.append(current())
        return await known(message)

    port = free_port()
    call = Call(request_id="r-1", traceparent=UNSAMPLED, position=Position.at("AUTH", 7), actor="u")
    async with serving(secrets, remember, port), calling(secrets, port) as client:
        assert await ask(client, context=call) == "u"
    (served,) = seen
    assert served.deadline is not None
    assert msgspec.structs.replace(served, deadline=None) == msgspec.structs.replace(call, caller="gateway")


@pytest.mark.parametrize(
    "error",
    [
        UserNotFound(),
        Invalid("no", violations=(Violation("/text", "too long"),)),
        ReadModelBehind(retry_after=1),
        Overloaded(retry_after=2),
    ],
)
async def test_an_error_arrives_as_it_was_raised(secrets: Secrets, error: VestnikError) -> None:
    async def fail(message: GetUserRequest) -> GetUserResponse:
        raise error

    port = free_port()
    async with serving(secrets, fail, port), calling(secrets, port) as client:
        with pytest.raises(type(error)) as caught:
            await ask(client)
    assert caught.value.detail == error.detail
    assert caught.value.violations == error.violations
    assert caught.value.retry_after == error.retry_after


async def test_what_goes_wrong_inside_is_not_shown_outside(secrets: Secrets, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(message: GetUserRequest) -> GetUserResponse:
        raise RuntimeError("SELECT secret FROM table")

    port = free_port()
    async with serving(secrets, fail, port), calling(secrets, port) as client:
        with pytest.raises(VestnikError) as caught:
            await ask(client)
    assert caught.value.code == "internal"
    assert "SELECT" not in str(caught.value)
    assert "SELECT" in caplog.text


async def test_health_needs_no_token_and_follows_readiness(secrets: Secrets) -> None:
    port = free_port()
    async with serving(secrets, known, port) as server:
        assert await is_serving("127.0.0.1", port)
        server.set_ready(False)
        assert not await is_serving("127.0.0.1", port)
    assert not await is_serving("127.0.0.1", port)


async def test_a_dead_replica_is_passed_over(secrets: Secrets) -> None:
    alive, dead = free_port(), free_port()
    async with serving(secrets, known, alive), calling(secrets, dead, alive) as client:
        assert [await ask(client) for _ in range(4)] == ["u"] * 4


async def test_a_replica_without_a_quorum_is_passed_over_and_where_all_are_nobody_waits(secrets: Secrets) -> None:
    cut_off, well, asked = free_port(), free_port(), 0

    async def undecided(message: GetUserRequest) -> GetUserResponse:
        nonlocal asked
        asked += 1
        raise NoQuorum(retry_after=4)

    async with serving(secrets, undecided, cut_off):
        async with serving(secrets, known, well), calling(secrets, cut_off, well) as both:
            assert [await ask(both, idempotent=True) for _ in range(4)] == ["u"] * 4
        asked = 0
        async with calling(secrets, cut_off) as one:
            with pytest.raises(NoQuorum) as refused:
                await ask(one, idempotent=True)
    assert refused.value.retry_after == 4
    assert asked == 1


async def test_a_replica_without_the_method_is_passed_over_and_where_all_are_the_service_is_unavailable(
    secrets: Secrets,
) -> None:
    earlier, present = free_port(), free_port()

    async def lacks(message: GetUserRequest) -> GetUserResponse:
        raise GRPCError(Status.UNIMPLEMENTED)

    async with serving(secrets, lacks, earlier):
        async with serving(secrets, known, present), calling(secrets, earlier, present) as both:
            assert [await ask(both) for _ in range(4)] == ["u"] * 4
        async with calling(secrets, earlier) as one:
            with pytest.raises(Unavailable) as refused:
                await ask(one)
    assert refused.value.retry_after == 5


async def test_a_service_that_is_down_is_unavailable_within_the_deadline(secrets: Secrets) -> None:
    async with calling(secrets, free_port()) as client:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(ask(client, timeout=SOON), 4 * SOON)


async def test_a_service_that_comes_back_in_time_answers_the_waiting_call(secrets: Secrets) -> None:
    port = free_port()
    async with calling(secrets, port) as client:
        waiting = asyncio.create_task(ask(client))
        await asyncio.sleep(0)
        async with serving(secrets, known, port):
            assert await waiting == "u"


async def test_a_connection_that_is_lost_as_it_is_made_costs_no_call(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that to a process that is killed behind the kernel's own welcome."""
    create, made = Channel._create_connection, 0

    async def lost_at_first(channel: Channel) -> H2Protocol:
        nonlocal made
        made += 1
        protocol = await create(channel)
        if made == 1:
            protocol.connection_lost(None)
        return protocol

    monkeypatch.setattr(Channel, "_create_connection", lost_at_first)
    port = free_port()
    async with serving(secrets, known, port), calling(secrets, port) as client:
        assert await ask(client) == "u"
        assert made == 2
        made = 0
        assert not await is_serving("127.0.0.1", port)
        assert await is_serving("127.0.0.1", port)


async def test_a_slow_answer_ends_with_the_deadline(secrets: Secrets) -> None:
    never = asyncio.Event()

    async def hang(message: GetUserRequest) -> GetUserResponse:
        await never.wait()
        return await known(message)

    port = free_port()
    async with serving(secrets, hang, port), calling(secrets, port) as client:
        with pytest.raises(DeadlineExceeded):
            await ask(client, timeout=0.2)


async def test_what_is_called_for_a_request_ends_with_it(secrets: Secrets) -> None:
    never, left = asyncio.Event(), list[float]()

    async def hang(message: GetUserRequest) -> GetUserResponse:
        deadline = current().deadline
        assert deadline is not None
        left.append(deadline - time.monotonic())
        await never.wait()
        return await known(message)

    port = free_port()
    async with serving(secrets, hang, port), calling(secrets, port) as client:
        ends = time.monotonic() + 2.0
        with pytest.raises(DeadlineExceeded):
            await ask(client, timeout=1_000, context=msgspec.structs.replace(FOR_U, deadline=ends))
    assert left, "it was called"
    assert left[0] <= 2.0, "and knew how long it has"


async def test_a_deadline_that_the_server_notices_first_is_a_deadline_too(secrets: Secrets) -> None:
    async def late(message: GetUserRequest) -> GetUserResponse:
        # As grpclib says it, without our details.
        raise GRPCError(Status.DEADLINE_EXCEEDED)

    port = free_port()
    async with serving(secrets, late, port), calling(secrets, port) as client:
        with pytest.raises(DeadlineExceeded):
            await ask(client)


async def test_a_draining_server_finishes_what_it_began_and_refuses_what_is_new(secrets: Secrets) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(message: GetUserRequest) -> GetUserResponse:
        begun.set()
        await finish.wait()
        return await known(message)

    port = free_port()
    async with serving(secrets, slow, port) as server, calling(secrets, port) as client:
        running = asyncio.create_task(ask(client))
        await begun.wait()
        draining = asyncio.create_task(server.drain(5.0))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await ask(client, timeout=SOON)
        finish.set()
        assert await running == "u"
        await draining


async def test_a_refused_call_goes_to_another_replica(secrets: Secrets) -> None:
    stopping, alive = free_port(), free_port()
    hold = asyncio.Event()
    begun = asyncio.Event()

    async def held(message: GetUserRequest) -> GetUserResponse:
        begun.set()
        await hold.wait()
        return await known(message)

    async with (
        serving(secrets, held, stopping) as server,
        serving(secrets, known, alive),
        calling(secrets, stopping) as first,
        calling(secrets, stopping, alive) as both,
    ):
        running = asyncio.create_task(ask(first))
        await begun.wait()
        draining = asyncio.create_task(server.drain(5.0))
        await asyncio.sleep(0)
        assert [await ask(both) for _ in range(4)] == ["u"] * 4
        hold.set()
        assert await running == "u"
        await draining


async def test_calls_about_the_same_go_to_one_replica_and_to_another_when_that_is_gone(secrets: Secrets) -> None:
    ports = free_port(), free_port()
    answered: Counter[int] = Counter()

    def counting(port: int) -> Answer:
        async def get_user(message: GetUserRequest) -> GetUserResponse:
            answered[port] += 1
            return await known(message)

        return get_user

    async with serving(secrets, counting(ports[0]), ports[0]), calling(secrets, *ports) as client:
        async with serving(secrets, counting(ports[1]), ports[1]):
            homes: set[int] = set()
            for number in range(20):
                answered.clear()
                for _ in range(3):
                    await ask(client, about=f"aggregate {number}")
                assert len(answered) == 1
                homes |= set(answered)
            assert homes == set(ports)
        answered.clear()
        for number in range(20):
            assert await ask(client, idempotent=True, about=f"aggregate {number}") == "u"
        assert answered == {ports[0]: 20}


async def test_a_call_has_a_span_at_each_of_its_ends_if_its_trace_is_sampled(secrets: Secrets) -> None:
    seen: list[Call] = []

    async def answer(message: GetUserRequest) -> GetUserResponse:
        seen.append(current())
        if seen[-1].request_id == "refused":
            raise UserNotFound
        if seen[-1].request_id == "broken":
            raise RuntimeError
        return await known(message)

    port = free_port()
    async with serving(secrets, answer, port), calling(secrets, port) as client:
        with recording() as spans:
            await ask(client, context=Call(request_id="traced", actor="u", traceparent=SAMPLED))
            await ask(client, context=Call(request_id="not sampled", actor="u", traceparent=UNSAMPLED))
            await ask(client, context=Call(request_id="without", actor="u"))
            with pytest.raises(UserNotFound):
                await ask(client, context=Call(request_id="refused", actor="u", traceparent=SAMPLED))
            with pytest.raises(VestnikError):
                await ask(client, context=Call(request_id="broken", actor="u", traceparent=SAMPLED))
    traced, unsampled, without, refused, broken = seen
    assert (unsampled.traceparent, without.traceparent) == (UNSAMPLED, None)
    errors = [("", ""), ("NOT_FOUND", ""), ("INTERNAL", "INTERNAL")]
    assert len(spans) == 2 * len(errors)
    for served, sent, received, (at_caller, at_service) in zip(
        (traced, refused, broken), spans[::2], spans[1::2], errors, strict=True
    ):
        assert (sent.parent, received.parent, served.traceparent) == (SAMPLED, sent.traceparent, received.traceparent)
        assert (sent.kind, received.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
        assert (sent.error, received.error) == (at_caller, at_service)
        assert sent.name == received.name == "vestnik.auth.v1.AuthService/GetUser"
        assert sent.attributes == received.attributes
        assert sent.attributes["rpc.method"] == "GetUser"


async def test_the_span_of_a_call_that_reaches_nobody_ends_too(secrets: Secrets) -> None:
    async with calling(secrets, free_port()) as client:
        with recording() as spans, pytest.raises(Unavailable):
            await ask(client, timeout=SOON, context=Call(request_id="r", traceparent=SAMPLED))
    assert {span.error for span in spans} == {"UNAVAILABLE"}
