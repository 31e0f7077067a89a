"""What people show of themselves, and the terms they are searched by.

A row begins with whichever is read first, the registration (stream AUTH) or the profile (stream PROFILE); there is
a profile to show once `sequence` is set.
"""

import unicodedata
from collections.abc import Mapping
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.user import UserCreated, UserEmailVerified
from contracts.personal import plain
from contracts.subjects import AUTH, PROFILE, PUBLIC_FILTERS
from projections.engine import Projection, Write, handles


class Profiles(Projection):
    version = 1
    streams: ClassVar[Mapping[str, str | None]] = {PROFILE: None, AUTH: PUBLIC_FILTERS[AUTH]}
    tables = """
        CREATE TABLE {profiles} (
            user_id uuid PRIMARY KEY,
            -- from AUTH
            registration_id uuid,
            registered_username text,
            registered_name text,
            verified boolean NOT NULL DEFAULT false,
            -- from PROFILE
            username text,
            display_name text,
            bio text,
            avatar_url text,
            updated_at timestamptz,
            username_term text COLLATE "C",
            name_term text COLLATE "C",
            -- of the last event in PROFILE, and of the last profile.updated
            sequence bigint,
            updated_sequence bigint
        );
        CREATE INDEX ON {profiles} (username_term, user_id);
        CREATE INDEX ON {profiles} (name_term, user_id);
    """

    @handles(UserCreated)
    def registered(self, event: Recorded[UserCreated], write: Write) -> None:
        write.upsert(
            "profiles",
            key={"user_id": event.aggregate_id},
            set={
                "registration_id": event.id,
                "registered_username": event.data.username,
                "registered_name": plain(event.data.display_name),
            },
        )

    @handles(UserEmailVerified)
    def verified(self, event: Recorded[UserEmailVerified], write: Write) -> None:
        write.upsert("profiles", key={"user_id": event.aggregate_id}, set={"verified": True})

    @handles(ProfileCreated)
    def created(self, event: Recorded[ProfileCreated], write: Write) -> None:
        name = plain(event.data.display_name) or event.data.username
        username_term, name_term = search_term(event.data.username), search_term(name)
        write.upsert(
            "profiles",
            key={"user_id": event.aggregate_id},
            set={
                "username": event.data.username,
                "display_name": name,
                "bio": "",
                "avatar_url": "",
                "updated_at": event.at,
                "username_term": username_term,
                # Most are called by their username; they need not be found twice.
                "name_term": None if name_term == username_term else name_term,
                "sequence": event.sequence,
            },
        )

    @handles(ProfileUpdated)
    def updated(self, event: Recorded[ProfileUpdated], write: Write) -> None:
        name = plain(event.data.display_name) or ""
        write.upsert(
            "profiles",
            key={"user_id": event.aggregate_id},
            set={
                "display_name": name,
                "bio": plain(event.data.bio) or "",
                "avatar_url": plain(event.data.avatar_url) or "",
                "updated_at": event.at,
                "name_term": search_term(name),
                "sequence": event.sequence,
                "updated_sequence": event.sequence,
            },
        )


def search_term(text: str) -> str:
    """How a name and a query are compared: whatever their case and the width or composition of their letters."""
    return unicodedata.normalize("NFKC", text).casefold()
