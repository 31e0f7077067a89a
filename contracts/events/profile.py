"""Events of a profile."""

from typing import ClassVar

from contracts.events.event import Event
from contracts.values.field_types import LanguageCode, PresenceCode
from contracts.values.personal_data import Personal


class ProfileCreated(Event, frozen=True, kw_only=True):
    TYPE: ClassVar[str] = "profile.created"
    username: Personal[str]
    display_name: Personal[str]


class ProfileUpdated(Event, frozen=True, kw_only=True):
    """Contains all editable fields, with their new values."""

    TYPE: ClassVar[str] = "profile.updated"
    display_name: Personal[str]
    bio: Personal[str] = ""
    # Empty if there is none.
    avatar_url: Personal[str] = ""
    # Settings, which only their owner is shown.
    presence: PresenceCode = "friends"
    # Of the user's pages; None if not set.
    language: LanguageCode | None = None
    # Whether it changes nothing that others are shown, nor when the profile was updated.
    settings_only: bool = False
