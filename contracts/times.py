"""Times as they cross the edges: Unix milliseconds in gRPC, RFC 3339 with milliseconds in JSON; always UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_unix_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def from_unix_ms(value: int) -> datetime:
    return _EPOCH + value * _MILLISECOND


def rfc3339(moment: datetime) -> str:
    """`2026-01-31T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
