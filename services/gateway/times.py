"""Times as clients see them: RFC 3339, UTC, with milliseconds."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with milliseconds.",
        examples=["2026-01-31T12:00:00.000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]


def shown(unix_milliseconds: int) -> Time:
    """A time from the services, which speak of Unix milliseconds."""
    seconds, milliseconds = divmod(unix_milliseconds, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
