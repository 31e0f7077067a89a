"""Shared by the handlers: JSON documents, and checked parts of requests."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, Violation
from contracts.rpc.vestnik.operator.v1 import Document
from contracts.values.timestamps import bounded, rfc3339

_MOST = 500
_ENCODER = msgspec.json.Encoder()

Limit = Annotated[int, Meta(ge=1, le=_MOST)]


class PageRequest(msgspec.Struct, frozen=True):
    limit: Limit


def document(content: msgspec.Struct) -> Document:
    return Document(json=_ENCODER.encode(content))


def moment(text: str, path: str) -> datetime | None:
    """The time in a field; None if it is empty.

    Raises:
        Invalid: it is not a time.
    """
    if not text:
        return None
    try:
        return bounded(datetime.fromisoformat(text))
    except ValueError as error:
        raise Invalid(violations=(Violation(path, "Not a time (RFC 3339)"),)) from error


def as_text(value: datetime | None) -> str:
    """A time as the filter of a recorded look has it; empty if there is none."""
    return rfc3339(value) if value else ""
