"""Times as clients see them: RFC 3339, UTC, with milliseconds."""

from datetime import UTC, datetime
from functools import lru_cache
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
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1_024)
def _second(unix_seconds: int) -> str:
    # What is shown is mostly of this very second, or of the one page that is read.
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%dT%H:%M:%S}"
