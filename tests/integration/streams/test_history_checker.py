"""The log broken on purpose, in each way that matters: the checker sees it, and sees nothing while the log is whole."""

import asyncio
from collections.abc import Sequence

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance
from contracts.errors import VestnikError
from contracts.events.event import Event
from contracts.subjects import MESSAGING
from streams.appending.outcomes import Outcomes
from streams.appending.sender import Sender
from streams.jetstream.publish_ack import Ack
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Answer
from streams.log import Append, Conflict, Log
from streams.repository import BrokenHistory
from tests.history_checker import History, RecordingLog, all_of
from tests.integration.streams.conftest import append_to, counting, sent

NAMES = ["a", "b", "c"]
ROUNDS = 10


async def exercise(nc: Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two replicas with stale caches, batches with one stale condition, and one answer in ten lost on its way."""
    monkeypatch.setattr("streams.appending.appender._ATTEMPT", 0.2)
    _lose_answers(monkeypatch)
    history = History()
    logs = [RecordingLog(nc, history, patience=5), RecordingLog(nc, history, patience=5)]
    repositories = [counting(log) for log in logs]

    def one_more(state: int) -> Sequence[Event]:
        return [sent(state + 1)]

    async def write(writer: int) -> None:
        for number in range(ROUNDS):
            try:
                await repositories[writer % 2].execute(NAMES[number % len(NAMES)], one_more, Provenance())
            except (VestnikError, BrokenHistory):
                continue

    async def write_batches(log: Log, number: int) -> None:
        stale = append_to("a")
        for batch in ([append_to(f"{number}"), append_to(f"{number}-")], [append_to(f"{number}="), stale]):
            try:
                await log.append_together(batch)
            except (Conflict, VestnikError):
                continue

    await repositories[0].execute("a", one_more, Provenance())
    # The batches at the same time: a log that does not refuse a stale one tries for all its patience.
    batches = (write_batches(logs[0], number) for number in range(ROUNDS))
    await asyncio.gather(*(write(number) for number in range(6)), *batches)
    assert history.acknowledged > ROUNDS
    return history.violations(await all_of(nc, MESSAGING))


def _lose_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    take, answers = Answer.take, 0

    def lose_some(answer: Answer, message: Delivered) -> None:
        nonlocal answers
        if b'"seq"' in message.data and b'"stream":' in message.data and b'"message"' not in message.data:
            answers += 1
            if answers % 10 == 0:
                return
        take(answer, message)

    monkeypatch.setattr(Answer, "take", lose_some)


async def test_the_log_as_it_is_contradicts_nothing(streams: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await exercise(streams, monkeypatch) == []


async def test_a_log_without_its_condition_is_caught(streams: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = Sender.headers
    monkeypatch.setattr(
        Sender, "headers", lambda self, append, *, conditional=True: headers(self, append, conditional=False)
    )
    history = await exercise(streams, monkeypatch)
    assert any("stands where" in violation for violation in history)


async def test_a_batch_sent_one_by_one_is_caught(streams: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send_singly(sender: Sender, appends: Sequence[Append], timeout: float) -> Ack:
        acks = [await sender.one([append], timeout) for append in appends]
        return next((ack for ack in acks if ack.error is not None), acks[-1])

    monkeypatch.setattr(Sender, "batch", send_singly)
    history = await exercise(streams, monkeypatch)
    assert any("1 of 2 events of one append are stored" in violation for violation in history)


async def test_a_log_that_does_not_look_after_a_time_out_is_caught(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends again, and takes the refusal caused by its own first attempt for another writer's event."""
    looks = 0

    async def believe(_: Outcomes, deadline: float, appends: Sequence[Append]) -> list[int] | None:
        nonlocal looks
        looks += 1
        if looks % 2 == 1:
            return None
        raise Conflict(appends[0].subject, appends[0].expected)

    monkeypatch.setattr(Outcomes, "resolve_by", believe)
    history = await exercise(streams, monkeypatch)
    assert any("was refused and is stored" in violation for violation in history)
