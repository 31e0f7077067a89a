"""Pauses between batches, and that a waiting caller in any process ends them."""

import pytest
from nats.aio.client import Client

from contracts.positions import Position
from contracts.subjects import MESSAGING
from projections.engine import PositionWaiter, Runners
from projections.engine.apply import batch_pacing
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters

PATIENCE = 60


@pytest.fixture(autouse=True)
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses too long to pass by chance; a call ends them for as long as a slow machine needs."""
    monkeypatch.setattr(batch_pacing, "_REST_SECONDS", 4 * PATIENCE)
    monkeypatch.setattr(batch_pacing, "_LASTS_SECONDS", PATIENCE)


def forget_calls(runners: Runners) -> None:
    """Removes earlier calls, so that the next batch would pause."""
    runners.waiting.pacing(Letters)._until = float("-inf")


async def test_who_waits_in_the_process_that_applies_ends_the_pause(run: Opened, writer: Writer) -> None:
    runners = await run(Letters)
    conversation = conversation_ids(1)[0]
    for text in ("one", "another", "a third"):
        forget_calls(runners)
        last = await writer.say(conversation, text)
        await runners.waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)


async def test_who_waits_in_another_process_ends_the_pause(
    streams: Client, run: Opened, writer: Writer, pool: Pool
) -> None:
    runners = await run(Letters)
    waiting = PositionWaiter([Letters], streams, pool)
    await waiting.start()
    try:
        conversation = conversation_ids(1)[0]
        for text in ("one", "another", "a third"):
            forget_calls(runners)
            last = await writer.say(conversation, text)
            await waiting.wait(Letters, Position.at(MESSAGING, last), PATIENCE)
    finally:
        await waiting.stop()
