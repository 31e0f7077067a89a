"""Timestamps as clients see them: RFC 3339, UTC, with milliseconds."""

from contracts.values.timestamps import Rfc3339, rfc3339_of

Time = Rfc3339


def shown(unix_milliseconds: int) -> Time:
    """Formats a time from the services, which use Unix milliseconds."""
    return rfc3339_of(unix_milliseconds)
