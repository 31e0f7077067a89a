"""The streams of a projection, read concurrently."""

import asyncio
import time

from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import AUTH, CONTACT, MESSAGING
from projections.engine.reading.stream_sources import Sources
from tests.integration.projections.event_writer import Writer, conversation_ids

PATIENCE = 60


async def test_while_nothing_happens_all_streams_together_give_one_sign_of_life_a_second(
    streams: Client, writer: Writer
) -> None:
    (conversation,) = conversation_ids(1)
    filters: dict[str, str | None] = dict.fromkeys((MESSAGING, CONTACT, AUTH))
    async with asyncio.timeout(PATIENCE), Sources(streams, filters, Position(), name="test") as sources:
        while not sources.at_end:
            await sources.next()
        begun, read_at = time.monotonic(), dict(sources.read_at)
        for _ in range(4):
            _, batch = await sources.next()
            assert (batch.messages, batch.pending) == ([], 0)
        assert time.monotonic() - begun > 2
        # They are all read meanwhile.
        assert all(sources.read_at[stream] > read_at[stream] for stream in filters)
        sequence = await writer.say(conversation, "hello")
        while not (news := await sources.next())[1].messages:
            pass
    assert (news[0], news[1].position) == (MESSAGING, sequence)
