"""The time of a stored message, in each of the server's formats."""

from datetime import UTC, datetime

import pytest

from streams.message import Message, nanoseconds_of

MOMENT = datetime(2026, 1, 31, 12, 0, 0, 42_984, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("2026-01-31T12:00:00.042984226Z", 42_984_226),
        ("2026-01-31T12:00:00.04298422Z", 42_984_220),
        ("2026-01-31T12:00:00.5Z", 500_000_000),
        ("2026-01-31T12:00:00Z", 0),
    ],
)
def test_the_servers_text_is_read_to_the_nanosecond(text: str, fraction: int) -> None:
    assert nanoseconds_of(text) == int(MOMENT.replace(microsecond=0).timestamp()) * 1_000_000_000 + fraction


def test_a_message_says_when_it_was_stored_to_the_nearest_microsecond() -> None:
    stored = nanoseconds_of("2026-01-31T12:00:00.042984226Z")
    assert Message("S", 1, "s", b"", stored).stored_at == MOMENT
    assert Message("S", 1, "s", b"").stored_at is None
