"""Events are counted in the steps in which they were stored."""

from datetime import timedelta

from nats.aio.client import Client

from contracts.envelope import now
from contracts.subjects import MESSAGING, STREAMS
from services.operator.rates import History
from streams.log import Log
from tests.integration.streams.conftest import fill


async def test_events_stand_in_the_step_of_their_storage(streams: Client) -> None:
    begun = now()
    await fill(Log(streams), 30)
    history = History(streams)
    day = await history.of("day", now())
    assert [stream.name for stream in day.streams] == list(STREAMS)
    counts = {stream.name: stream.events for stream in day.streams}
    assert (sum(counts[MESSAGING]), sum(map(sum, counts.values()))) == (30, 30)
    # In the last step, or in the one before where that has just begun.
    assert sum(counts[MESSAGING][-2:]) == 30
    later = await history.of("day", begun + timedelta(hours=5))
    counts = {stream.name: stream.events for stream in later.streams}
    index = next(number for number, step in enumerate(later.steps) if step + timedelta(minutes=30) > begun)
    assert (sum(counts[MESSAGING]), counts[MESSAGING][-1]) == (30, 0)
    assert sum(counts[MESSAGING][index : index + 2]) == 30
    week = await History(streams).of("week", begun + timedelta(days=3))
    assert (len(week.steps), week.step_seconds) == (28, 21_600)
    assert sum({stream.name: stream.events for stream in week.streams}[MESSAGING]) == 30
