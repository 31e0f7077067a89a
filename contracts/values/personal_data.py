"""Marks the personal data in events: it may be stored encrypted, and erased by destroying its key.

Stored events have it plain or sealed. A decoded event has plain text: readers unseal their batches before.
"""

from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

T = TypeVar("T")


class Sealed(msgspec.Struct, frozen=True):
    """Encrypted personal data; once its key is destroyed nobody can read it again."""

    # Names the key that decrypts it.
    key: str
    # base64
    ciphertext: str


if TYPE_CHECKING:
    Personal = Annotated[T, "plain in every event that was opened"]
else:
    Personal = Annotated[T | Sealed, msgspec.Meta(extra_json_schema={"x-personal": True})]
