"""Ids: UUIDv7 for new objects, a derived UUID for what two people share."""

import os
import re
import time
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha1
from uuid import UUID

from contracts.values.timestamps import from_unix_ms

# The two variant bits that RFC 9562 fixes and two random bits, as one hexadecimal digit.
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
# Random digits for future ids: a system call per id takes longer than all the rest of making it.
_ASKED_FOR = 256
_DIGITS = 20
_spare: list[str] = []
# Of the latest id: its milliseconds and the 12 bits after the version.
_latest = 0
# Two processes must never make ids from the same digits.
os.register_at_fork(after_in_child=_spare.clear)
_PAIRS = UUID("5b2e0d5c-7c0f-4c7e-9d4b-0a4a3f6f1c11").bytes
_REPORTS = UUID("0b5b6f0e-4f2c-4d0b-9a57-6c0d9f1f7e42").bytes
_EFFECTS = UUID("3f0c6a52-8f0e-4a35-9c59-0d7f5f6a9b21").bytes
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) in text: 48 bits of Unix milliseconds, then random; greater than the process's last one.

    The 12 bits after the version begin at random with each millisecond, and count on while the clock has not advanced
    or has gone back.
    """
    # Built as text, since every command makes several: `uuid.UUID` takes four times as long.
    global _latest
    chance = _chance()
    # The lower half of the 12 bits, so that the count reaches the next millisecond only after 2,048 ids.
    stamp = time.time_ns() // 1_000_000 << 12 | int(chance[:3], 16) >> 1
    _latest = stamp = max(stamp, _latest + 1)
    moment = f"{stamp:015x}"
    variant = _VARIANT[chance[3]]
    return f"{moment[:8]}-{moment[8:12]}-7{moment[12:]}-{variant}{chance[4:7]}-{chance[7:19]}"


def _chance() -> str:
    while True:
        try:
            return _spare.pop()
        except IndexError:
            # Another thread may refill too, or take all digits.
            digits = os.urandom(_ASKED_FOR * _DIGITS // 2).hex()
            _spare.extend(digits[start : start + _DIGITS] for start in range(0, len(digits), _DIGITS))


def made_at(identifier: str) -> datetime:
    """The creation time of an id of `new_id`, to the millisecond, UTC."""
    return from_unix_ms(int(identifier[:8] + identifier[9:13], 16))


def first_id_at(moment: datetime) -> str:
    """The lowest id that `new_id` may make at a time; all earlier ids are lower."""
    stamp = f"{int(moment.timestamp() * 1000):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-0000-0000-000000000000"


def pair_id(one: str, other: str) -> str:
    """The id of two people's friendship and conversation, independent of the order of the arguments."""
    return _shared(one, other) if one < other else _shared(other, one)


def notification_id(user_id: str, event_id: str) -> str:
    """The id of the notification that an event causes for a user; deterministic, so every reader derives the same."""
    return _named(bytes.fromhex(user_id.replace("-", "")), event_id)


def report_id(reporter_id: str, reported_id: str, reason: str, message_ids: Iterable[str], repetition: int) -> str:
    """The id of a report; deterministic, so that a repeated report is found again. `repetition`: 0 for the first."""
    return _named(_REPORTS, ":".join((reporter_id, reported_id, reason, *sorted(message_ids), str(repetition))))


def effect_id(event_id: str, effect: str) -> str:
    """The id of what a reaction makes of an event, the same in each attempt; `effect` distinguishes several."""
    return _named(_EFFECTS, f"{event_id}:{effect}")


def is_id(text: str) -> bool:
    """Whether the text is a UUID in its canonical form: lower case, with hyphens."""
    return _ID.fullmatch(text) is not None


# Cached: people write to the same people again, and each process needs the id several times per message.
@lru_cache(maxsize=16_384)
def _shared(first: str, second: str) -> str:
    return _named(_PAIRS, f"{first}:{second}")


def _named(space: bytes, name: str) -> str:
    """A UUIDv5 (RFC 9562) in text, without the objects of `uuid.uuid5`: several are made per message."""
    digest = sha1(space + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
