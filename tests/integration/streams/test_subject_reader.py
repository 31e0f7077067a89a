"""Reading an aggregate backwards along its conditions: the same events as a search finds, wherever they lie."""

from itertools import count

import pytest

from contracts.envelope import encode
from contracts.subjects import MESSAGING, conversation
from streams.jetstream import subject_reader
from streams.jetstream.api import JetStream, Link
from streams.jetstream.client import Client
from streams.jetstream.requests import NoAnswer
from streams.log import Log
from streams.message import Message
from tests.integration.streams.conftest import append_to

_FAR = 600
_strangers = count()


async def _strangers_come(log: Log) -> None:
    """Appends the given number of other aggregates' events, which a search would have to scan."""
    await log.append_together([append_to(f"stranger-{next(_strangers)}") for _ in range(_FAR)])


@pytest.fixture
async def sequences(log: Log, streams: Client) -> list[int]:
    """Sequences of the events of `a`: far apart and close together, several of one batch, one without a condition."""
    appended = [await log.append(append_to("a"))]
    for version in (2, 3, 4):
        appended.append(await log.append(append_to("a", expected=appended[-1], version=version)))
    await _strangers_come(log)
    batch = [append_to("a", expected=appended[-1], version=5), append_to("b"), append_to("a", version=6)]
    first, _, third = await log.append_together(batch)
    appended += [first, third]
    await _strangers_come(log)
    appended.append(await log.append(append_to("a", expected=appended[-1], version=7)))
    unconditional = append_to("a", version=8)
    stored = await streams.jetstream().publish(unconditional.subject, encode(unconditional.envelope))
    appended.append(stored.seq)
    for version in range(9, 15):
        await _strangers_come(log)
        appended.append(await log.append(append_to("a", expected=appended[-1], version=version)))
    return appended


async def _read(log: Log, after: int = 0) -> list[int]:
    messages = await log.read(conversation("a"), after=after)
    assert all(message.subject == conversation("a") for message in messages)
    return [message.sequence for message in messages]


async def test_an_aggregate_is_read_whole_and_from_any_place(log: Log, sequences: list[int]) -> None:
    assert await _read(log) == sequences
    assert [message.envelope().version for message in await log.read(conversation("a"))] == list(range(1, 15))
    for index, sequence in enumerate(sequences):
        assert await _read(log, sequence) == sequences[index + 1 :]
        assert await _read(log, sequence - 1) == sequences[index:]


async def test_what_a_pattern_names_is_read_as_one(log: Log, sequences: list[int]) -> None:
    messages = await log.read(conversation("*"), after=sequences[1])
    assert [message.sequence for message in messages] == list(range(sequences[2], sequences[-1] + 1))


async def test_events_far_apart_are_asked_for_one_by_one_and_not_searched(
    log: Log, sequences: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def search(*arguments: object, **named: object) -> tuple[list[Message], bool]:
        raise AssertionError("a search")

    monkeypatch.setattr(JetStream, "many", search)
    # Behind the one that names no predecessor.
    assert await _read(log, sequences[7]) == sequences[8:]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Records the sequences after which searches start."""
    began: list[int] = []
    search = JetStream.many

    async def noted(
        self: JetStream, stream: str, subject: str, after: int, *, limit: int | None = None
    ) -> tuple[list[Message], bool]:
        began.append(after)
        return await search(self, stream, subject, after, limit=limit)

    monkeypatch.setattr(JetStream, "many", noted)
    monkeypatch.setattr(subject_reader, "_REACH", _FAR)
    return began


async def test_a_search_goes_back_only_as_far_as_events_lie_close_together(log: Log, searches: list[int]) -> None:
    sequences = [await log.append(append_to("a"))]
    for version in range(2, 9):
        if version == 5:
            await _strangers_come(log)
            await _strangers_come(log)
        sequences.append(await log.append(append_to("a", expected=sequences[-1], version=version)))
    assert await _read(log) == sequences
    # From the last but one, and from the one before the strangers.
    assert searches == [sequences[-2] - _FAR, 0]
    searches.clear()
    assert await _read(log, sequences[0]) == sequences[1:]
    assert searches == [sequences[-2] - _FAR, sequences[0]]


async def test_what_a_batch_has_together_is_searched_for_close_by(log: Log, searches: list[int]) -> None:
    sequences = [await log.append(append_to("a"))]
    for version in (2, 5, 8):
        await _strangers_come(log)
        await _strangers_come(log)
        batch = [append_to("a", expected=sequences[-1], version=version + offset) for offset in range(3)]
        sequences += await log.append_together(batch)
    assert await _read(log) == sequences
    assert searches == [sequences[index] - _FAR for index in (-1, -4, -7)]


@pytest.mark.parametrize("fault", [None, NoAnswer()])
async def test_what_a_replica_lacks_comes_from_the_leader(
    log: Log, sequences: list[int], monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    async def nothing(self: JetStream, stream: str, sequence: int) -> Link | None:
        if fault is not None:
            raise fault
        return None

    monkeypatch.setattr(JetStream, "link_at", nothing)
    assert await _read(log) == sequences
    assert await _read(log, sequences[9]) == sequences[10:]


async def test_a_sequence_that_is_another_aggregates_is_not_taken_for_this_ones(log: Log, streams: Client) -> None:
    first = await log.append(append_to("a"))
    other = await log.append(append_to("b"))
    await log.append(append_to("a", expected=first, version=2))

    class Lying(JetStream):
        async def last_link(self, stream: str, subject: str) -> Link | None:
            link = await super().last_link(stream, subject)
            return link and Link(link.message, other)

    lying = Log(streams)
    lying._events._jetstream = Lying(streams)
    assert await _read(lying) == [1, 3]


async def test_a_predecessor_is_known_from_either_api(streams: Client, sequences: list[int]) -> None:
    jetstream = JetStream(streams)
    direct = await jetstream.link_at(MESSAGING, sequences[1])
    assert direct is not None
    assert direct.previous == sequences[0]
    assert direct == await jetstream.link_of_leader(MESSAGING, sequences[1])
    assert await jetstream.link_at(MESSAGING, sequences[-1] + 1) is None
    assert await jetstream.link_of_leader(MESSAGING, sequences[-1] + 1) is None
