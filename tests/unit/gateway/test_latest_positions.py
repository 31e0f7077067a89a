"""The memory of users' latest positions."""

from contracts.positions import Position
from services.gateway.latest_positions import LatestPositions


def test_positions_only_go_forward() -> None:
    positions = LatestPositions()
    positions.remember("a", Position({"AUTH": 5}))
    positions.remember("a", Position({"AUTH": 3, "CONTACT": 1}))
    assert positions.of("a") == Position({"AUTH": 5, "CONTACT": 1})
    assert positions.of("b") == Position()


def test_who_has_been_quiet_the_longest_is_forgotten_first() -> None:
    positions = LatestPositions(capacity=2)
    for user in "abac":
        positions.remember(user, Position({"AUTH": 1}))
    assert positions.of("a").sequences
    assert not positions.of("b").sequences
