"""Personal data, marked where it stands in an event, so that it can be encrypted and forgotten later.

Readers accept both forms from the first release on: plain, or sealed with a key of the person it is about.
"""

from typing import Annotated, TypeVar

import msgspec

T = TypeVar("T")


class Sealed(msgspec.Struct, frozen=True):
    """Encrypted personal data; once its key is destroyed nobody can read it again."""

    # Which key opens it.
    key: str
    # base64
    ciphertext: str


Personal = Annotated[T | Sealed, msgspec.Meta(extra_json_schema={"x-personal": True})]


def plaintext_or_none(value: str | Sealed | None) -> str | None:
    """The text of personal data; None where there is none, or where it is sealed and its key is not at hand."""
    return value if isinstance(value, str) else None
