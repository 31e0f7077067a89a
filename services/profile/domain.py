"""The profile aggregate: created at registration, updated field by field."""

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Literal

import msgspec

from contracts.errors import ProfileNotFound, StaleProfile
from contracts.events.event import Event
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.values.field_types import LanguageCode, PresenceCode
from contracts.values.timestamps import rfc3339

ANY_TAG = "*"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The aggregate's state."""

    username: str = ""
    display_name: str = ""
    bio: str = ""
    # Empty if not set.
    avatar_url: str = ""
    presence: PresenceCode = "friends"
    # None if not set.
    language: LanguageCode | None = None
    # Time of the last event that changed what others are shown; None while there is no profile.
    updated_at: datetime | None = None


class PublicProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The public view: the profile, and whether the e-mail address is verified."""

    user_id: str
    username: str
    display_name: str
    bio: str
    avatar_url: str
    verified: bool
    updated_at: datetime
    # The account was erased: there are no names.
    deleted: bool = False

    @property
    def etag(self) -> str:
        """Hash of the public view; the same on every replica, from the aggregate or the read model."""
        return hashlib.sha256(self.json()).hexdigest()[:32]

    def json(self) -> bytes:
        """The JSON object that clients receive."""
        return msgspec.json.encode(self.fields())

    def fields(self) -> dict[str, object]:
        """What clients receive, by name."""
        shown: dict[str, object] = {
            "user_id": self.user_id,
            "username": self.username,
            "display_name": self.display_name,
            "bio": self.bio,
            "avatar_url": self.avatar_url or None,
            "verified": self.verified,
            "updated_at": rfc3339(self.updated_at),
        }
        if self.deleted:
            shown["deleted"] = True
        return shown


class OwnProfile(PublicProfile, frozen=True, kw_only=True):
    """The owner's view: the public one and the settings. Its etag changes with either."""

    presence: PresenceCode
    language: LanguageCode | None

    def fields(self) -> dict[str, object]:
        return super().fields() | {"presence": self.presence, "language": self.language}

    def public(self) -> PublicProfile:
        """What others are shown."""
        return PublicProfile(**{name: getattr(self, name) for name in PublicProfile.__struct_fields__})


class CreateProfile(msgspec.Struct, frozen=True, kw_only=True):
    username: str
    # As requested at registration; defaults to the username.
    display_name: str | None = None


class UpdateProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A merge patch: None leaves a field unchanged, an empty string clears it, or sets a setting to its default."""

    display_name: str | None = None
    bio: str | None = None
    avatar_url: str | None = None
    presence: PresenceCode | Literal[""] | None = None
    language: LanguageCode | Literal[""] | None = None
    # The profile must have one of these etags, as its owner or as others see it; empty: no condition.
    if_match: tuple[str, ...] = ()


def evolve(state: Profile, event: Event, at: datetime) -> Profile:
    match event:
        case ProfileCreated():
            return Profile(
                username=event.username,
                display_name=event.display_name or event.username,
                updated_at=at,
            )
        case ProfileUpdated(display_name=""):
            return Profile(presence=event.presence, language=event.language, updated_at=at)
        case ProfileUpdated():
            return msgspec.structs.replace(
                state,
                display_name=event.display_name or state.username,
                bio=event.bio,
                avatar_url=event.avatar_url,
                presence=event.presence,
                language=event.language,
                updated_at=state.updated_at if event.settings_only else at,
            )
        case _:
            return state


def decide_create(state: Profile, command: CreateProfile) -> tuple[Event, ...]:
    """Creates the profile; no event if it exists, so that a registration may be delivered twice."""
    if state.updated_at is not None:
        return ()
    name = command.display_name or command.username
    return (ProfileCreated(username=command.username, display_name=name),)


def decide_update(user_id: str, state: Profile, command: UpdateProfile, *, verified: bool) -> tuple[Event, ...]:
    """Updates the profile; no event if nothing would change.

    Raises:
        ProfileNotFound: there is no profile.
        StaleProfile: the profile has none of the tags in `if_match`.
    """
    if command.if_match and not _matches(to_own(user_id, state, verified=verified), command.if_match):
        raise StaleProfile
    if state.updated_at is None:
        raise ProfileNotFound
    display_name = _patched(command.display_name, state.display_name) or state.username
    bio = _patched(command.bio, state.bio)
    avatar_url = _patched(command.avatar_url, state.avatar_url)
    updated = ProfileUpdated(
        display_name=display_name,
        bio=bio,
        avatar_url=avatar_url,
        presence=state.presence if command.presence is None else command.presence or "friends",
        language=state.language if command.language is None else command.language or None,
        settings_only=(display_name, bio, avatar_url) == (state.display_name, state.bio, state.avatar_url),
    )
    return () if evolve(state, updated, state.updated_at) == state else (updated,)


def decide_erase(state: Profile) -> tuple[Event, ...]:
    """Empties the profile of a user who was erased, and shows nobody when they were online; no event if there is none.

    What is left is no personal data, so that the event needs no key. Clients learn of the erasure by it, even if what
    it empties cannot be read any more.
    """
    return () if state.updated_at is None else (ProfileUpdated(display_name="", presence="nobody"),)


def to_own(user_id: str, state: Profile, *, verified: bool) -> OwnProfile:
    """
    Raises:
        ProfileNotFound: there is no profile.
    """
    if state.updated_at is None:
        raise ProfileNotFound
    return OwnProfile(
        user_id=user_id,
        username=state.username,
        display_name=state.display_name,
        bio=state.bio,
        avatar_url=state.avatar_url,
        verified=verified,
        updated_at=state.updated_at,
        presence=state.presence,
        language=state.language,
    )


def _matches(profile: OwnProfile, tags: Collection[str]) -> bool:
    return ANY_TAG in tags or profile.etag in tags or profile.public().etag in tags


def _patched(value: str | None, present: str) -> str:
    return present if value is None else value
