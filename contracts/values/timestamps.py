"""Formats of times at the edges: Unix milliseconds in gRPC, RFC 3339 with milliseconds in JSON; always UTC."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

Rfc3339 = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with milliseconds.",
        examples=["2026-01-31T12:00:00.000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_AWAY = datetime(9000, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_unix_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def bounded(moment: datetime) -> datetime:
    """The moment, clamped to the years 1970 to 9000; without a zone it counts as UTC.

    No event is outside these bounds, and sums near the ends of the calendar overflow.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware, _EPOCH), _FAR_AWAY)


def from_unix_ms(value: int) -> datetime:
    return _EPOCH + value * _MILLISECOND


def rfc3339(moment: datetime) -> Rfc3339:
    """Formats a moment as `2026-01-31T12:00:00.000Z`."""
    return rfc3339_of(to_unix_ms(moment))


def rfc3339_of(unix_ms: int) -> str:
    """As `rfc3339`, from Unix milliseconds."""
    seconds, milliseconds = divmod(unix_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1_024)
def _second(unix_seconds: int) -> str:
    # Cached: most formatted times are of the current second or of one page being read.
    return (_EPOCH + timedelta(seconds=unix_seconds)).replace(tzinfo=None).isoformat()
