"""What a request says about itself: its id and its place in a trace, taken over where they are sane."""

import re

from contracts.values.ids import new_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# W3C Trace Context, version 00 and the fields that later versions keep.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def parse_request_id(given: str | None) -> str:
    """The caller's own id, or a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else new_id()


def correlation_id(given: str | None, shown: str) -> str:
    """An id of ours beside the one that is shown, where that is the caller's; else nothing, since it is ours."""
    return new_id() if given == shown else ""


def parse_traceparent(given: str | None) -> str | None:
    """The caller's trace context, if it is one."""
    return given if given and _TRACEPARENT.fullmatch(given) else None
