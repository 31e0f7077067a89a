"""Lifecycle of access token keys: the state of each follows from all keys' names and the clock alone."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from infra.settings import Settings

# Allows for clock skew.
_MARGIN = timedelta(seconds=60)
_STAMP = "%Y%m%dT%H%M%SZ"
_KEY_ID = re.compile(r"(?P<stamp>\d{8}T\d{6}Z)-[0-9a-f]{8}\Z")
# Creation time of keys whose id has no timestamp (an earlier format).
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class KeyState(StrEnum):
    PUBLISHED = "published"
    SIGNING = "signing"
    VERIFYING = "verifying"
    RETIRED = "retired"


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key and its state."""

    key_id: str
    state: KeyState
    made_at: datetime
    # When it starts to sign.
    signs_from: datetime
    # When the last token that it signed has expired; None while the key has no successor.
    retires_at: datetime | None


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of the stages."""

    # From publication until a key signs: longer than any verifier caches the key set.
    lead: timedelta
    # Lifetime of an access token.
    life: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "KeyTerms":
        return cls(
            lead=timedelta(seconds=settings.access_key_lead_seconds),
            life=timedelta(seconds=settings.access_token_seconds),
        )


def key_states(key_ids: Iterable[str], terms: KeyTerms, now: datetime) -> list[AccessKey]:
    """The state of each key, oldest first."""
    ids = sorted(key_ids, key=lambda key_id: (made_at(key_id), key_id))
    # The first key signs immediately: there is no other.
    starts = [made_at(key_id) + (terms.lead if number else timedelta()) for number, key_id in enumerate(ids)]
    started = [number for number, start in enumerate(starts) if start <= now]
    signing = started[-1] if started else 0
    states = []
    for number, key_id in enumerate(ids):
        retires = starts[number + 1] + terms.life + _MARGIN if number + 1 < len(ids) else None
        if number > signing:
            state = KeyState.PUBLISHED
        elif number == signing:
            state = KeyState.SIGNING
        else:
            state = KeyState.RETIRED if retires is not None and retires <= now else KeyState.VERIFYING
        states.append(
            AccessKey(
                key_id=key_id,
                state=state,
                made_at=made_at(key_id),
                signs_from=starts[number],
                retires_at=retires,
            )
        )
    return states


def made_at(key_id: str) -> datetime:
    match = _KEY_ID.match(key_id)
    if match is None:
        return _LONG_AGO
    try:
        return datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return _LONG_AGO


def new_key_id(now: datetime, random: str) -> str:
    """`random`: eight hex characters that separate keys created in the same second."""
    return f"{now.astimezone(UTC):{_STAMP}}-{random}"
