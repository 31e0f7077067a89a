"""W3C Trace Context: the text `traceparent`, which names a span as the parent of others.

`00-<trace id>-<span id>-<flags>`, all in hexadecimal. The last bit of the flags says whether the trace is sampled.
"""

import re
from typing import NamedTuple

# Version 00, and the fields that later versions keep.
_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ODD = frozenset("13579bdf")


class ParentSpan(NamedTuple):
    trace_id: int
    span_id: int
    flags: int


def valid(header: str | None) -> str | None:
    """The header of a caller that is not trusted; None if it is not valid."""
    return header if header and _VALID.fullmatch(header) else None


def is_sampled(traceparent: str) -> bool:
    """Whether the spans of the trace are recorded."""
    return traceparent[-1] in _ODD


def not_sampled(traceparent: str) -> str:
    """The same parent, in a trace that is not sampled."""
    return f"{traceparent[:-2]}00"


def format_traceparent(trace_id: int, span_id: int, flags: int) -> str:
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def parse(traceparent: str) -> ParentSpan:
    """
    Raises:
        ValueError: the text is not a traceparent.
    """
    _, *fields = traceparent.split("-")
    trace_id, span_id, flags = (int(field, 16) for field in fields)
    if not (0 < trace_id < 1 << 128 and 0 < span_id < 1 << 64 and 0 <= flags < 1 << 8):
        raise ValueError("an id is zero, or too long")
    return ParentSpan(trace_id, span_id, flags)
