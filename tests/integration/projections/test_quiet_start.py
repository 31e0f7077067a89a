"""What is asked before a read model exists is no error to PostgreSQL, whose log operators watch."""

from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client
from psycopg_pool import AsyncConnectionPool

from contracts.errors import ReadModelBehind
from contracts.positions import Position
from contracts.subjects import MESSAGING
from infra.embedded.postgres_server import PostgresServer
from projections.engine import ReadModel, Runners
from tests.integration.projections.event_writer import PATIENCE, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters


class Count(msgspec.Struct):
    messages: int


async def test_reads_before_the_first_build_leave_no_error_in_the_log(
    streams: Client, writer: Writer, tmp_path: Path
) -> None:
    server = PostgresServer(tmp_path, settings={"fsync": "off", "shared_buffers": "32MB"})
    await server.start()
    async with AsyncConnectionPool(server.url, min_size=1, open=False, kwargs={"autocommit": True}) as pool:
        runners = Runners([Letters], streams, pool, server.url)
        model = ReadModel(Letters, pool, runners.waiting)
        with pytest.raises(ReadModelBehind, match="is being built"):
            await model.select(Count, "SELECT messages FROM {letters}")
        with pytest.raises(ReadModelBehind):
            await model.wait_for(Position.at(MESSAGING, 1), timeout=0.5)
        await runners.start()
        try:
            await model.wait_for(Position.at(MESSAGING, await writer.say(conversation_ids(1)[0], "a", "b")), PATIENCE)
            assert (await model.select(Count, "SELECT messages FROM {letters}"))[0] == [Count(2)]
        finally:
            await runners.stop()
    await server.stop()
    log = (tmp_path / "server.log").read_text()
    assert [line for line in log.splitlines() if "ERROR" in line] == []
