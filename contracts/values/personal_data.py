"""Marks the personal data in events, so that it can be encrypted and erased later.

Readers accept both forms from the first release on: plain, or sealed with a key of the person concerned.
"""

from typing import Annotated, TypeVar

import msgspec

T = TypeVar("T")


class Sealed(msgspec.Struct, frozen=True):
    """Encrypted personal data; once its key is destroyed nobody can read it again."""

    # Names the key that decrypts it.
    key: str
    # base64
    ciphertext: str


Personal = Annotated[T | Sealed, msgspec.Meta(extra_json_schema={"x-personal": True})]


def plaintext_or_none(value: str | Sealed | None) -> str | None:
    """The text of personal data; None if it is absent or sealed."""
    return value if isinstance(value, str) else None
