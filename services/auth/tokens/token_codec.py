"""Codec of signed tokens: a struct's declared fields, each of a fixed size, in order, followed by the MAC.

A struct declares the size and the encoding of each field as an annotation: `user_id: Annotated[str, ID]`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints
from uuid import UUID

from contracts.values.timestamps import from_unix_ms, to_unix_ms
from services.auth.tokens.signer import Signer

Content = TypeVar("Content")


class Field(NamedTuple):
    """Encoding of one field."""

    # In bytes.
    size: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _encode_time(moment: datetime) -> bytes:
    return to_unix_ms(moment).to_bytes(6, "big")


def _decode_time(raw: bytes) -> datetime:
    return from_unix_ms(int.from_bytes(raw, "big"))


ID = Field(16, lambda text: UUID(text).bytes, lambda raw: str(UUID(bytes=raw)))
# 32 hex characters.
DIGEST = Field(16, bytes.fromhex, bytes.hex)
# Of a credential.
GENERATION = Field(4, lambda number: int(number).to_bytes(4, "big"), lambda raw: int.from_bytes(raw, "big"))
# With millisecond precision.
TIME = Field(6, _encode_time, _decode_time)
DEVICE = Field(8, bytes, bytes)


class TokenCodec(Generic[Content]):
    """Signs structs of one class as tokens for one purpose, and reads them back."""

    def __init__(self, key: bytes, purpose: bytes, content: Callable[..., Content]) -> None:
        self._signer = Signer(key, purpose)
        self._content = content
        self._fields: dict[str, Field] = {
            name: hint.__metadata__[0] for name, hint in get_type_hints(content, include_extras=True).items()
        }
        self._size = sum(field.size for field in self._fields.values())

    def sign(self, content: Content) -> str:
        return self._signer.sign(b"".join(field.encode(getattr(content, name)) for name, field in self._fields.items()))

    def read(self, token: str) -> Content:
        """Returns the token's content; checks neither an expiry nor whether it was used.

        Raises:
            InvalidToken: the signature is not ours, or is for another purpose.
        """
        body = self._signer.open(token, self._size)
        values, start = {}, 0
        for name, field in self._fields.items():
            values[name] = field.decode(body[start : start + field.size])
            start += field.size
        return self._content(**values)
