"""Placeholders take the sequences that were lost, each exactly one."""

import pytest
from nats.aio.client import Client

from contracts.subjects import MESSAGING
from streams.log import Log
from streams.loss import placeholders
from streams.loss.missing_events import Gap
from tests.integration.streams.conftest import append_to, fill


async def test_the_lost_sequences_are_filled_and_the_next_event_comes_behind_them(streams: Client, log: Log) -> None:
    await fill(log, 3)
    assert await placeholders.begun(log, MESSAGING) is None
    await placeholders.fill(log, Gap(MESSAGING, 4, 1_500), "an operator")
    assert await placeholders.begun(log, MESSAGING) == Gap(MESSAGING, 4, 1_500)
    assert await log.append(append_to("b")) == 1_501
    first, *_, last = await log.read("vestnik.messaging.lost")
    assert (first.sequence, last.sequence, last.envelope().version) == (4, 1_500, 1_497)
    assert last.envelope().actor == "operator:an operator"


async def test_an_interrupted_filling_goes_on(streams: Client, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(log, 3)
    monkeypatch.setattr(placeholders, "_BATCH", 10)
    append = log.append_together
    calls = 0

    async def interrupted(*arguments: object) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return await append(*arguments)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(log, "append_together", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await placeholders.fill(log, Gap(MESSAGING, 4, 50), "an operator")
    assert await log.end_of(MESSAGING) == 23
    gap = await placeholders.begun(log, MESSAGING)
    assert gap == Gap(MESSAGING, 4, 50)
    await placeholders.fill(log, gap, "an operator")
    await placeholders.fill(log, gap, "an operator")
    assert await log.end_of(MESSAGING) == 50


async def test_a_gap_that_is_filled_stays_as_it_is_when_other_events_have_come_behind_it(
    streams: Client, log: Log
) -> None:
    await fill(log, 3)
    gap = Gap(MESSAGING, 4, 9)
    await placeholders.fill(log, gap, "an operator")
    await fill(log, 2)
    await placeholders.fill(log, gap, "an operator")
    assert await log.end_of(MESSAGING) == 11
    await placeholders.fill(log, Gap(MESSAGING, 12, 13), "an operator")
    assert await placeholders.filled(log, Gap(MESSAGING, 4, 12)) == [Gap(MESSAGING, 4, 9), Gap(MESSAGING, 12, 12)]


async def test_another_event_in_between_is_not_taken_for_a_placeholder(streams: Client, log: Log) -> None:
    await fill(log, 5)
    with pytest.raises(placeholders.Interfered):
        await placeholders.fill(log, Gap(MESSAGING, 4, 9), "an operator")
    with pytest.raises(placeholders.Interfered):
        await placeholders.fill(log, Gap(MESSAGING, 7, 9), "an operator")
    assert await log.end_of(MESSAGING) == 5
