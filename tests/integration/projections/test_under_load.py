"""Builds come to their end also while others write without a pause."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from nats.aio.client import Client

from projections.engine.inspection.verify import verify
from projections.engine.rebuild.rebuild import rebuild
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids, until_ready
from tests.integration.projections.sample_projection import Letters

PATIENCE = 60
WRITERS = 6


@pytest_asyncio.fixture
async def flood(writer: Writer) -> AsyncIterator[None]:
    """Messages in several conversations, one behind the other, until the end of the test."""

    async def write(conversation: str) -> None:
        while True:
            await writer.say(conversation, "text")

    await writer.fill(conversation_ids(1), 1_000)
    tasks = [asyncio.create_task(write(conversation)) for conversation in conversation_ids(WRITERS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_version_gets_ready_and_a_rebuild_is_switched_to_while_others_write(
    streams: Client, flood: None, run: Opened, database_url: str
) -> None:
    await until_ready(await run(Letters))
    async with asyncio.timeout(PATIENCE):
        assert (await rebuild(Letters, streams, database_url)).build == 2
        assert (await rebuild(Letters, streams, database_url, back=True)).build == 1
        assert (await verify(Letters, streams, database_url)).equal
