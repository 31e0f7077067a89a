"""User profiles and their search terms.

The first event read creates the row: the registration (stream AUTH) or the profile (stream PROFILE). The profile can be
shown once `sequence` is set, and to other users once `verified` is true. The indexes hold verified users only.
"""

from contracts.envelope import Recorded
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.user import UserCreated, UserEmailVerified
from contracts.subjects import AUTH, PROFILE
from contracts.values.name_matching import index_keys, normalize, pad_words
from projections.engine import RowChanges, handles
from projections.engine.erasing import ERASED_USERS, ErasingProjection


class Profiles(ErasingProjection):
    version = 6
    streams = (PROFILE, AUTH)
    tables = (
        """
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
            presence text NOT NULL DEFAULT 'friends',
            language text,
            updated_at timestamptz,
            -- match keys of the names (contracts/values/name_matching.py): by prefix, by word, with typos;
            -- those of a display name equal to the username are null, to avoid duplicate matches
            username_term text COLLATE "C",
            name_term text COLLATE "C",
            username_words text COLLATE "C",
            name_words text COLLATE "C",
            username_forms text COLLATE "C",
            name_forms text COLLATE "C",
            -- of the last event in PROFILE, and of the last profile.updated that changed what others are shown
            sequence bigint,
            updated_sequence bigint
        );
        CREATE INDEX ON {profiles} (username_term, user_id) WHERE verified;
        CREATE INDEX ON {profiles} (name_term, user_id) WHERE verified;
        CREATE INDEX ON {profiles} USING gin (string_to_array(username_forms || ' ' || COALESCE(name_forms, ''), ' '))
            -- registrations are rarer than searches, and a search scans the whole pending list
            WITH (fastupdate = off) WHERE verified;
        """
        + ERASED_USERS
    )
    # `left(…, 0)`: a null stays null.
    erasures = (
        """
        UPDATE {profiles} SET
            registered_username = left(registered_username, 0), registered_name = NULL,
            username = left(username, 0), display_name = left(display_name, 0),
            bio = left(bio, 0), avatar_url = left(avatar_url, 0),
            username_term = NULL, username_words = NULL, username_forms = NULL,
            name_term = NULL, name_words = NULL, name_forms = NULL
        WHERE user_id = ANY(%(users)s) AND (
            concat(registered_username, username, display_name, bio, avatar_url) <> ''
            OR num_nonnulls(
                registered_name, username_term, username_words, username_forms, name_term, name_words, name_forms
            ) > 0
        )
        """,
    )

    @handles(UserCreated)
    def registered(self, event: Recorded[UserCreated], write: RowChanges) -> None:
        write.upsert(
            "profiles",
            key={"user_id": event.aggregate_id},
            set={
                "registration_id": event.id,
                "registered_username": event.data.username,
                "registered_name": event.data.display_name or None,
            },
        )

    @handles(UserEmailVerified)
    def verified(self, event: Recorded[UserEmailVerified], write: RowChanges) -> None:
        write.upsert("profiles", key={"user_id": event.aggregate_id}, set={"verified": True})

    @handles(ProfileCreated)
    def created(self, event: Recorded[ProfileCreated], write: RowChanges) -> None:
        name = event.data.display_name or event.data.username
        username_term = normalize(event.data.username)
        write.upsert(
            "profiles",
            key={"user_id": event.aggregate_id},
            set={
                "username": event.data.username,
                "display_name": name,
                "bio": "",
                "avatar_url": "",
                "updated_at": event.at,
                "sequence": event.sequence,
            }
            | _terms("username", username_term)
            | _terms("name", "" if normalize(name) == username_term else normalize(name)),
        )

    @handles(ProfileUpdated)
    def updated(self, event: Recorded[ProfileUpdated], write: RowChanges) -> None:
        name = event.data.display_name
        shown = {} if event.data.settings_only else {"updated_at": event.at, "updated_sequence": event.sequence}
        write.upsert(
            "profiles",
            key={"user_id": event.aggregate_id},
            set={
                "display_name": name,
                "bio": event.data.bio,
                "avatar_url": event.data.avatar_url,
                "presence": event.data.presence,
                "language": event.data.language,
                "sequence": event.sequence,
            }
            | shown
            | _terms("name", normalize(name)),
        )


def _terms(of: str, term: str) -> dict[str, object]:
    """The match keys of a name; of an empty one there are none."""
    if not term:
        return {f"{of}_term": None, f"{of}_words": None, f"{of}_forms": None}
    return {f"{of}_term": term, f"{of}_words": pad_words(term), f"{of}_forms": index_keys(term)}
