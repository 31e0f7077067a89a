"""Ids: UUIDv7 for what is made, a derived UUID for what two people share."""

import os
import time
from uuid import UUID, uuid5

_PAIRS = UUID("5b2e0d5c-7c0f-4c7e-9d4b-0a4a3f6f1c11")


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) in text: 48 bits of Unix milliseconds, then random."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))


def pair_id(one: str, other: str) -> str:
    """The id that two people share, in whichever order they are named: of their friendship and conversation."""
    first, second = sorted((one, other))
    return str(uuid5(_PAIRS, f"{first}:{second}"))


def is_id(text: str) -> bool:
    """Whether the text is a UUID in its canonical form: lower case, with hyphens."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
