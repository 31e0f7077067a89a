"""A reader returns every message once and in order, and reports every loss, whatever happens around it."""

import pytest

from streams import reader
from streams.jetstream import ordered_consumer
from streams.jetstream.ordered_consumer import Consumer
from streams.loss.missing_events import Gap
from streams.message import Message
from streams.reader import Reader
from tests.simulation.mutations import Mutation, caught, replaced
from tests.simulation.world import machine, play
from tests.simulation.worlds.reading import ReaderWorld

_RUNS = 20

TestReading = machine(ReaderWorld, examples=8).TestCase


def test_every_message_is_returned_once_under_faults() -> None:
    for seed in range(1_000, 1_000 + _RUNS):
        play(ReaderWorld, seed)


_open, _drop = Consumer._open, Reader._drop


def _open_any(self: Consumer, message: object) -> Message:
    parts = message.reply.split(".")  # type: ignore[attr-defined]
    self._sequence = int(parts[6]) - 1
    return _open(self, message)  # type: ignore[arg-type]


async def _as_delivered(_: Reader, messages: list[Message], position: int) -> tuple[list[Message], list[Gap]]:
    return messages, []


async def _skip_buffered(self: Reader) -> None:
    if self._consumer is not None:
        self._position = max(self._position, self._consumer.position)
    await _drop(self)


_MUTATIONS: dict[str, Mutation] = {
    "a gap in the consumer's own sequence is not noticed": replaced(Consumer, "_open", _open_any),
    "messages that were not delivered are not requested": replaced(Reader, "_complete", _as_delivered),
    "the end of a deposed leader is believed": replaced(reader, "_CONFIRMED_AFTER", 0.0),
    "a silent consumer is kept": replaced(ordered_consumer, "_SILENCE", 10_000.0),
    "a position moves before its messages are returned": replaced(Reader, "_drop", _skip_buffered),
}
# Seeds known to notice what few runs do.
_NOTICED_BY = {"the end of a deposed leader is believed": 40}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_a_fault_in_the_code_is_noticed(name: str) -> None:
    caught(ReaderWorld, _MUTATIONS[name], within=200, begin=_NOTICED_BY.get(name, 0))
