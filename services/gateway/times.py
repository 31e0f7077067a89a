"""Times as clients see them: RFC 3339, UTC, with milliseconds."""

from typing import Annotated

from msgspec import Meta

from contracts.times import rfc3339_of

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
    return rfc3339_of(unix_milliseconds)
