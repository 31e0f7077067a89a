"""What the gateway takes for ready: each service's own word, and for a moment its last one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from grpclib import GRPCError, Status
from grpclib.health.service import Health
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.server import Server, Stream

from infra.embedded.ports import reserve_ports
from infra.rpc.replicas import Replicas
from services.gateway.observability import readiness
from services.gateway.observability.readiness import OUT_OF_SPACE, Readiness
from streams.jetstream.requests import NoResponders


class Service(Health):
    """A service whose health answers only while `awake` is set."""

    def __init__(self) -> None:
        super().__init__({})
        self.awake = asyncio.Event()
        self.awake.set()
        self.ready = True
        self.late = False

    async def Check(  # noqa: N802 - the method's name in gRPC
        self, stream: Stream[HealthCheckRequest, HealthCheckResponse]
    ) -> None:
        await stream.recv_message()
        await self.awake.wait()
        if self.late:
            raise GRPCError(Status.DEADLINE_EXCEEDED)
        served = HealthCheckResponse.SERVING if self.ready else HealthCheckResponse.NOT_SERVING
        await stream.send_message(HealthCheckResponse(status=served))


class Asked:
    def __init__(self) -> None:
        self.service = Service()
        self.server = Server([self.service])
        # Nobody else gets the port, neither before the server listens nor after it has stopped.
        (self.holder,) = reserve_ports(1)
        self.port = self.holder.getsockname()[1]
        self.is_full = False
        self.answers = True
        self.readiness = Readiness({}, {"auth": Replicas([("127.0.0.1", self.port)])}, is_full=self._is_full)

    async def _is_full(self) -> bool:
        if not self.answers:
            raise NoResponders
        return self.is_full


@pytest_asyncio.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    monkeypatch.setattr(readiness, "_FRESH", -1.0)
    monkeypatch.setattr(readiness, "_PATIENCE", 1_000.0)
    asked = Asked()
    await asked.server.start("127.0.0.1", asked.port, reuse_port=True)
    try:
        yield asked
    finally:
        asked.service.awake.set()
        asked.server.close()
        await asked.server.wait_closed()
        asked.holder.close()


async def until_missing(asked: Asked, missing: list[str]) -> None:
    async with asyncio.timeout(120):
        while await asked.readiness.missing() != missing:
            await asyncio.sleep(0.02)


async def test_a_gateway_that_is_about_to_stop_is_not_ready(asked: Asked) -> None:
    await until_missing(asked, [])
    asked.readiness.leave()
    assert await asked.readiness.missing() == ["running"]


async def test_a_service_that_says_nothing_counts_as_it_was_and_not_for_long(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until_missing(asked, [])
    asked.service.awake.clear()
    assert await asked.readiness.missing() == []
    monkeypatch.setattr(readiness, "_PATIENCE", 0.0)
    assert await asked.readiness.missing() == ["auth"]


async def test_a_service_that_reports_the_end_of_the_time_limit_first_has_said_nothing(asked: Asked) -> None:
    await until_missing(asked, [])
    asked.service.late = True
    assert await asked.readiness.missing() == []


async def test_the_states_follow_without_probes(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_EVERY", 0.02)
    answers = asked.readiness.states()["auth"]
    watch = asyncio.create_task(asked.readiness.run())
    async with asyncio.timeout(120):
        for serving in (False, True):
            asked.service.ready = serving
            while answers() is not serving:
                await asyncio.sleep(0.02)
    watch.cancel()


async def test_one_that_never_answered_is_missing(asked: Asked) -> None:
    asked.service.awake.clear()
    assert await asked.readiness.missing() == ["auth"]


async def test_one_that_says_no_and_one_that_is_gone_are_missing_at_once(asked: Asked) -> None:
    await until_missing(asked, [])
    asked.service.ready = False
    await until_missing(asked, ["auth"])
    asked.service.ready = True
    await until_missing(asked, [])
    asked.server.close()
    await asked.server.wait_closed()
    await until_missing(asked, ["auth"])


async def test_an_event_store_without_space_is_named_and_the_gateway_ready(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_SPACE_FRESH", -1.0)
    await until_missing(asked, [])
    assert await asked.readiness.warnings() == []
    asked.is_full = True
    assert await asked.readiness.warnings() == [OUT_OF_SPACE]
    assert await asked.readiness.missing() == []
    asked.answers = False
    assert await asked.readiness.warnings() == []
