"""The mark of an import: it outlives what may come in between, and services wait for its end."""

import asyncio

import msgspec
import pytest
from nats.aio.client import Client

from contracts.subjects import AUTH
from infra.embedded.nats_server import NatsServer
from infra.runtime import import_marker
from infra.runtime.import_marker import get_import_marker, set_import_marker, wait_for_import, wait_until_complete
from streams.jetstream.api import JetStream
from streams.topology import ensure_streams, settings_of


async def test_the_mark_outlives_a_restart_and_an_update_of_the_stream(
    streams: Client, nats_server: NatsServer
) -> None:
    jetstream = JetStream(streams)
    await set_import_marker(jetstream, "one")
    nats_server.kill()
    await nats_server.wait()
    await nats_server.start()
    config = (await jetstream.info(AUTH)).config | {"description": "before an update"}
    await streams.request(f"$JS.API.STREAM.UPDATE.{AUTH}", msgspec.json.encode(config))
    await ensure_streams(streams, replicas=1)
    info = await jetstream.info(AUTH)
    assert info.config["description"] == settings_of(AUTH, replicas=1)["description"]
    assert await get_import_marker(jetstream) == "one"
    await set_import_marker(jetstream, None)
    assert await get_import_marker(jetstream) is None


async def test_a_store_without_streams_has_no_mark(nats: Client) -> None:
    assert await get_import_marker(JetStream(nats)) is None


async def test_a_service_waits_as_long_as_the_mark_is_there_and_hears_when_it_comes(
    streams: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(import_marker, "EVERY", 0.02)
    jetstream = JetStream(streams)
    async with asyncio.timeout(60):
        await wait_until_complete(streams)
        stops = asyncio.create_task(wait_for_import(streams))
        await set_import_marker(jetstream, "one")
        await stops
        starts = asyncio.create_task(wait_until_complete(streams))
        while "completes it" not in caplog.text:
            await asyncio.sleep(0.01)
        assert not starts.done()
        await set_import_marker(jetstream, None)
        await starts
