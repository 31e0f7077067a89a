"""Ids: UUIDv7 for what is made, a derived UUID for what two people share."""

import os
import re
import time
from datetime import datetime
from functools import lru_cache
from hashlib import sha1
from uuid import UUID

from contracts.values.timestamps import from_unix_ms

# Two random bits behind the two that RFC 9562 fixes, as one hexadecimal digit.
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
# Random digits for ids to come: asking the system for each id's takes longer than all the rest of it.
_ASKED_FOR = 256
_DIGITS = 20
_spare: list[str] = []
# Two processes must never make ids of the same digits.
os.register_at_fork(after_in_child=_spare.clear)
_PAIRS = UUID("5b2e0d5c-7c0f-4c7e-9d4b-0a4a3f6f1c11").bytes
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) in text: 48 bits of Unix milliseconds, then random."""
    # Put together as text, since every command makes several: `uuid.UUID` takes four times as long.
    moment = f"{time.time_ns() // 1_000_000:012x}"
    chance = _chance()
    variant = _VARIANT[chance[3]]
    return f"{moment[:8]}-{moment[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


def _chance() -> str:
    while True:
        try:
            return _spare.pop()
        except IndexError:
            # Another thread may do the same just now, or take them all.
            digits = os.urandom(_ASKED_FOR * _DIGITS // 2).hex()
            _spare.extend(digits[place : place + _DIGITS] for place in range(0, len(digits), _DIGITS))


def made_at(identifier: str) -> datetime:
    """When an id of `new_id` was made, to the millisecond, UTC."""
    return from_unix_ms(int(identifier[:8] + identifier[9:13], 16))


def pair_id(one: str, other: str) -> str:
    """The id that two people share, in whichever order they are named: of their friendship and conversation."""
    return _shared(one, other) if one < other else _shared(other, one)


def notification_id(user_id: str, event_id: str) -> str:
    """The id of what an event tells a user; the same whenever and wherever the event is read."""
    return _named(bytes.fromhex(user_id.replace("-", "")), event_id)


def is_id(text: str) -> bool:
    """Whether the text is a UUID in its canonical form: lower case, with hyphens."""
    return _ID.fullmatch(text) is not None


# Whoever writes to somebody does so again, and each message needs the id several times in every process it comes to.
@lru_cache(maxsize=16_384)
def _shared(first: str, second: str) -> str:
    return _named(_PAIRS, f"{first}:{second}")


def _named(space: bytes, name: str) -> str:
    """A UUIDv5 (RFC 9562) in text, by what `uuid.uuid5` does without its objects: several are made of each message."""
    found = sha1(space + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANT[found[16]]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"
