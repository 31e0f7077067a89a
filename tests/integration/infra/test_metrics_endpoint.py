"""Every process serves its metrics over HTTP, whatever else is requested from the endpoint."""

import asyncio
import socket
from contextlib import suppress

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from contracts.services import BESIDE
from infra.embedded.ports import free_port
from infra.runtime import metrics_endpoint as endpoint
from infra.runtime.metrics_endpoint import MetricsAddressInUse, metrics_endpoint
from infra.settings import Settings


def at(port: int) -> Settings:
    return Settings(metrics_listen=f"127.0.0.1:{port}")


async def test_the_figures_have_the_format_of_prometheus() -> None:
    registry = CollectorRegistry()
    Counter("greetings", "How often.", registry=registry).inc(3)
    port = free_port()
    async with (
        metrics_endpoint(at(port), 0, lambda: generate_latest(registry)),
        httpx.AsyncClient(timeout=60) as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port}/metrics?name=greetings")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
        assert ("greetings_total", 3.0) in [(sample.name, sample.value) for sample in samples]
        head = await client.head(f"http://127.0.0.1:{port}/metrics")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(answer.content)))


async def test_liveness_is_answered_without_the_figures() -> None:
    def broken() -> bytes:
        raise ZeroDivisionError

    port = free_port()
    async with metrics_endpoint(at(port), 0, broken), httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/livez")
        assert (answer.status_code, answer.text) == (200, "live")
        assert (await client.head(f"http://127.0.0.1:{port}/livez")).status_code == 200
        assert (await client.post(f"http://127.0.0.1:{port}/livez")).status_code == 405


async def test_readiness_is_what_the_process_says_of_itself() -> None:
    ready = False
    port = free_port()
    async with (
        metrics_endpoint(at(port), 0, ready=lambda: ready),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        assert (await client.get("/readyz")).status_code == 503
        ready = True
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (200, "ready")
        assert (await client.post("/readyz")).status_code == 405


async def test_other_paths_are_not_found() -> None:
    port = free_port()
    async with (
        metrics_endpoint(at(port), 0),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/readyz")).status_code == 404
        assert (await client.get("/metrics/../secrets")).status_code == 404
        assert (await client.post("/metrics")).status_code == 405


async def test_a_process_of_no_address_has_its_metrics_beside_its_own_port() -> None:
    port = free_port() - BESIDE
    async with metrics_endpoint(Settings(), port), httpx.AsyncClient(timeout=60) as client:
        assert "python_info" in (await client.get(f"http://127.0.0.1:{port + BESIDE}/metrics")).text


async def test_an_address_in_use_stops_the_start_only_where_it_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(MetricsAddressInUse, match=str(port)):
            async with metrics_endpoint(at(port), 0):
                pass
        async with metrics_endpoint(Settings(), port - BESIDE):
            pass


async def test_metrics_can_be_turned_off() -> None:
    port = free_port()
    async with metrics_endpoint(Settings(metrics_listen="off"), port - BESIDE):
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize(
    ("sent", "received"),
    [(b"GET /metrics HTTP/1.1\r\n", b""), (b"x" * 100_000, b"HTTP/1.0 400 Bad Request"), (b"", b"")],
)
async def test_an_unfinished_or_invalid_request_ends_and_delays_no_other(
    sent: bytes, received: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_SECONDS", 2.0)
    port = free_port()
    async with metrics_endpoint(at(port), 0), httpx.AsyncClient(timeout=60) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert (await client.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200
        # Reset, where the rest of what was sent was not read.
        with suppress(ConnectionResetError):
            assert (await reader.read()).partition(b"\r\n")[0] == received
        writer.close()


async def test_a_connection_beyond_the_bound_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_SECONDS", 600.0)
    port = free_port()
    async with metrics_endpoint(at(port), 0):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(endpoint._CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert not any(reader.at_eof() for reader, _ in held)
        for _, held_writer in held:
            held_writer.close()
        writer.close()


async def test_leaving_ends_the_connections_that_are_open() -> None:
    port = free_port()
    async with metrics_endpoint(at(port), 0):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        await writer.drain()
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
