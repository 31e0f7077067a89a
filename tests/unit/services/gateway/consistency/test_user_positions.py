"""The memory of users' latest positions."""

import time

import pytest

from contracts.positions import Position
from services.gateway.consistency.user_positions import LatestPositions


def test_positions_only_go_forward() -> None:
    positions = LatestPositions()
    positions.remember("a", Position({"AUTH": 5}))
    positions.remember("a", Position({"AUTH": 3, "CONTACT": 1}))
    assert positions.of("a") == Position({"AUTH": 5, "CONTACT": 1})
    assert positions.of("b") == Position()


def test_the_user_without_a_write_for_longest_is_evicted_first() -> None:
    positions = LatestPositions(capacity=2)
    for user in "abac":
        positions.remember(user, Position({"AUTH": 1}))
    assert positions.of("a").sequences
    assert not positions.of("b").sequences


def test_events_about_a_user_count_for_a_moment_beside_their_own_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    positions = LatestPositions()
    positions.remember("a", Position({"AUTH": 5}))
    positions.remember_for_peer("a", Position({"MESSAGING": 7}))
    positions.remember_for_peer("a", Position({"MESSAGING": 6, "CONTACT": 2}))
    assert positions.required_for("a") == Position({"AUTH": 5, "MESSAGING": 7, "CONTACT": 2})
    assert positions.of("a") == Position({"AUTH": 5})
    assert positions.required_for("b") == Position()
    now += 3
    assert positions.required_for("a") == Position({"AUTH": 5})


def test_the_user_whom_no_event_concerned_for_longest_is_evicted_first() -> None:
    positions = LatestPositions(capacity=2)
    for user in "abac":
        positions.remember_for_peer(user, Position({"AUTH": 1}))
    assert positions.required_for("a").sequences
    assert not positions.required_for("b").sequences
