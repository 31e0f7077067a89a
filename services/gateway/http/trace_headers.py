"""A request's id and trace context, taken from its headers if valid."""

import re

from contracts.values.ids import new_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# W3C Trace Context, version 00 and the fields that later versions keep.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def parse_request_id(given: str | None) -> str:
    """The client's request id if valid, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else new_id()


def correlation_id(given: str | None, shown: str) -> str:
    """A new id beside the shown one if that is the client's; empty if the shown one is ours."""
    return new_id() if given == shown else ""


def parse_traceparent(given: str | None) -> str | None:
    """The client's trace context if valid, else None."""
    return given if given and _TRACEPARENT.fullmatch(given) else None
