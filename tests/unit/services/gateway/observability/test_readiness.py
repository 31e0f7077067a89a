"""When a gateway is ready: each service's own answer counts, and for a moment its last one."""

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
        serving_status = HealthCheckResponse.SERVING if self.ready else HealthCheckResponse.NOT_SERVING
        await stream.send_message(HealthCheckResponse(status=serving_status))


class Asked:
    """A gateway's readiness, the one service that it checks, and the reports on the event store's space."""

    def __init__(self) -> None:
        self.service = Service()
        self.server = Server([self.service])
        # No other process gets the port, neither before the server listens nor after it has stopped.
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
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    monkeypatch.setattr(readiness, "_FRESH", -1.0)
    monkeypatch.setattr(readiness, "_PATIENCE", 1_000.0)
    gateway = Asked()
    await gateway.server.start("127.0.0.1", gateway.port, reuse_port=True)
    try:
        yield gateway
    finally:
        gateway.service.awake.set()
        gateway.server.close()
        await gateway.server.wait_closed()
        gateway.holder.close()


async def until_missing(gateway: Asked, missing: list[str]) -> None:
    async with asyncio.timeout(120):
        while await gateway.readiness.missing() != missing:
            await asyncio.sleep(0.02)


async def test_a_gateway_that_is_about_to_stop_is_not_ready(gateway: Asked) -> None:
    await until_missing(gateway, [])
    gateway.readiness.leave()
    assert await gateway.readiness.missing() == ["running"]


async def test_a_silent_service_counts_as_before_and_not_for_long(
    gateway: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until_missing(gateway, [])
    gateway.service.awake.clear()
    assert await gateway.readiness.missing() == []
    monkeypatch.setattr(readiness, "_PATIENCE", 0.0)
    assert await gateway.readiness.missing() == ["auth"]


async def test_a_service_that_reports_the_end_of_the_time_limit_first_counts_as_silent(gateway: Asked) -> None:
    await until_missing(gateway, [])
    gateway.service.late = True
    assert await gateway.readiness.missing() == []


async def test_the_states_follow_without_probes(gateway: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_EVERY", 0.02)
    is_ready = gateway.readiness.states()["auth"]
    watch = asyncio.create_task(gateway.readiness.run())
    async with asyncio.timeout(120):
        for serving in (False, True):
            gateway.service.ready = serving
            while is_ready() is not serving:
                await asyncio.sleep(0.02)
    watch.cancel()


async def test_a_service_that_never_answered_is_missing(gateway: Asked) -> None:
    gateway.service.awake.clear()
    assert await gateway.readiness.missing() == ["auth"]


async def test_a_service_that_is_not_ready_and_one_that_is_gone_are_missing_immediately(gateway: Asked) -> None:
    await until_missing(gateway, [])
    gateway.service.ready = False
    await until_missing(gateway, ["auth"])
    gateway.service.ready = True
    await until_missing(gateway, [])
    gateway.server.close()
    await gateway.server.wait_closed()
    await until_missing(gateway, ["auth"])


async def test_an_event_store_without_space_is_named_and_the_gateway_ready(
    gateway: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_SPACE_FRESH", -1.0)
    await until_missing(gateway, [])
    assert await gateway.readiness.warnings() == []
    gateway.is_full = True
    assert await gateway.readiness.warnings() == [OUT_OF_SPACE]
    assert await gateway.readiness.missing() == []
    gateway.answers = False
    assert await gateway.readiness.warnings() == []
