"""Ids of the data keys that seal personal data.

A person has one key. What a person writes in a conversation has a key for each month, which the person's key wraps. So
the end of the person's key makes unreadable all that the person wrote, and the end of a month's key one month of it.

The origins of logins (network addresses and devices), where these have a term, have a key for each month in which they
end.
"""

import re
from datetime import UTC, datetime, timedelta

# How long before a month the keys of its texts are created, where an author writes in these days.
MONTH_AHEAD = timedelta(days=3)

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_MONTH = r"\d{4}-(?:0[1-9]|1[0-2])"
_PERSON = re.compile(rf"person\.(?P<user>{_UUID})")
_TEXT = re.compile(rf"text\.{_UUID}\.(?P<user>{_UUID})\.(?P<month>{_MONTH})", re.ASCII)
_ADDRESS = re.compile(rf"address\.(?P<user>{_UUID})\.(?P<month>{_MONTH})", re.ASCII)
# Pattern of every key id.
KEY_ID = rf"^(person\.{_UUID}|(text\.{_UUID}|address)\.{_UUID}\.[0-9]{{4}}-(0[1-9]|1[0-2]))\Z"

# The ids of keys within a text, up to the user whose data they seal.
KEYS_IN_TEXT = re.compile(rf"\b(?P<kind>person|address|text\.{_UUID})\.(?P<user>{_UUID})")


def person_key(user_id: str) -> str:
    """The id of a person's key."""
    return f"person.{user_id}"


def text_key(conversation_id: str, author_id: str, sent_at: datetime) -> str:
    """The id of the key for what an author writes in a conversation in the month (UTC) of a message."""
    # Faster than strftime. The times of events are in UTC already.
    utc = sent_at if sent_at.tzinfo is UTC else sent_at.astimezone(UTC)
    return f"text.{conversation_id}.{author_id}.{utc.year:04}-{utc.month:02}"


def address_key(user_id: str, until: datetime) -> str:
    """The id of the key for the origins of a user's logins that end in the month (UTC) of this time."""
    return f"address.{user_id}.{until.astimezone(UTC):%Y-%m}"


def owner_of(key_id: str) -> str | None:
    """The id of the user whose data the key seals; None if this is no key id."""
    match = _PERSON.fullmatch(key_id) or _of_month(key_id)
    return match["user"] if match else None


def month_of(key_id: str) -> str | None:
    """The month of the texts that the key seals, or in which the origins end, `YYYY-MM`; None for a person's key."""
    match = _of_month(key_id)
    return match["month"] if match else None


def seals_texts(key_id: str) -> bool:
    """Whether the key seals texts that a user wrote in a conversation."""
    return _TEXT.fullmatch(key_id) is not None


def seals_origins(key_id: str) -> bool:
    """Whether the key seals the origins of logins, whose term ends in the key's month."""
    return _ADDRESS.fullmatch(key_id) is not None


def wrapped_by(key_id: str) -> str | None:
    """The id of the person's key that wraps this key; None for a person's key, which a master key wraps.

    Raises:
        ValueError: this is no key id.
    """
    if _PERSON.fullmatch(key_id):
        return None
    if match := _of_month(key_id):
        return person_key(match["user"])
    raise ValueError(f"{key_id!r} is not the id of a data key")


def _of_month(key_id: str) -> re.Match[str] | None:
    return _TEXT.fullmatch(key_id) or _ADDRESS.fullmatch(key_id)
