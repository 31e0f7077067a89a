"""Which expired rows are removed, and when."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from projections.engine.apply.build_writer import BuildWriter
from projections.engine.apply.pipeline import Pipeline
from projections.engine.running.sweeper import Sweeper
from projections.engine.storage import ended_rows
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import Counts
from projections.engine.storage.tables import Table

NOTES = Table("notes", "notes_v1_b1", ("id",), {"id": "uuid", "ends_at": "timestamp with time zone"}, "ends_at")
ALL_AT_ONCE = ended_rows.AT_ONCE
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
EVENING = datetime(2026, 1, 31, 20, tzinfo=UTC)


class State:
    """The pipeline and the writer as a sweeper uses them."""

    def __init__(
        self,
        unapplied: dict[str, int],
        oldest: dict[str, datetime],
        *,
        read_at: datetime = EVENING,
        is_counted: bool = True,
    ) -> None:
        self._left = unapplied
        self._read_at = read_at
        self._oldest = oldest
        self.is_counted = is_counted
        self.letters = Counts()

    def left_of(self, stream: str) -> int:
        return self._left[stream]

    def read_at(self, stream: str) -> float:
        return self._read_at.timestamp()

    def oldest(self, stream: str) -> int | None:
        moment = self._oldest.get(stream)
        return None if moment is None else int(moment.timestamp()) * 10**9


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The times of each removal; each removes the most rows that one may."""
    moments: list[datetime] = []

    async def remove(conn: object, table: object, applied_until: datetime) -> int:
        moments.append(applied_until)
        return ALL_AT_ONCE

    monkeypatch.setattr(ended_rows, "remove", remove)
    return moments


async def sweep(state: State, times: int = 1) -> None:
    one = Sweeper(cast(Connection, None), [NOTES], ["A", "B"])
    for _ in range(times):
        await one.sweep(cast(Pipeline, state), cast(BuildWriter, cast(Any, state)))


async def test_rows_are_removed_up_to_the_first_event_of_any_stream_that_is_not_applied(swept: list[datetime]) -> None:
    await sweep(State({"A": 0, "B": 0}, {}))
    await sweep(State({"A": 0, "B": 2}, {"B": NOON}))
    await sweep(State({"A": 1, "B": 2}, {"A": NOON, "B": NOON.replace(hour=13)}))
    assert swept == [EVENING, NOON, NOON]


async def test_rows_are_removed_up_to_the_last_read_of_every_stream(swept: list[datetime]) -> None:
    await sweep(State({"A": 0, "B": 0}, {}, read_at=NOON))
    await sweep(State({"A": 0, "B": 2}, {"B": NOON.replace(hour=13)}, read_at=NOON))
    assert swept == [NOON, NOON]


async def test_nothing_is_removed_while_an_earlier_event_may_be_left(swept: list[datetime]) -> None:
    await sweep(State({"A": 0, "B": 0}, {}, is_counted=False))
    await sweep(State({"A": 7, "B": 1}, {"B": NOON}))
    failed = State({"A": 0, "B": 0}, {})
    failed.letters = Counts(failed=1, parked=0)
    await sweep(failed)
    assert swept == []


async def test_a_sweep_that_may_have_left_rows_is_followed_by_the_next_at_once(
    swept: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State({"A": 0, "B": 0}, {})
    await sweep(state, times=3)
    assert len(swept) == 3
    monkeypatch.setattr(ended_rows, "AT_ONCE", ALL_AT_ONCE + 1)
    await sweep(state, times=3)
    assert len(swept) == 4
