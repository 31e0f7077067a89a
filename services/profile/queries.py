"""Queries of the profile service, all on the read model `profiles`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.positions import Position
from contracts.values.field_types import Id, LanguageCode, PresenceCode
from projections.engine.read_model import ReadModel
from services.profile.domain import OwnProfile, PublicProfile
from services.profile.search_terms import LOOKED_UP, parse_query

# Appended to a prefix, it sorts after every text with that prefix, in code point order.
_LAST = "\U0010ffff"
# Sorts before every user id.
_NOBODY = "00000000-0000-0000-0000-000000000000"

_SHOWN = "user_id, username, display_name, bio, avatar_url, verified, updated_at"
# Of a row `p`. No search finds it.
_DELETED = "EXISTS (SELECT FROM {erased} AS e WHERE e.user_id = p.user_id) AS deleted"
_OWN = f"{_SHOWN}, presence, language"


_BEGINS = "(%(prefix)s <= {column} AND {column} < %(end)s)"
# As in the definition of the index.
_FORMS = "string_to_array(username_forms || ' ' || COALESCE(name_forms, ''), ' ')"
_LOOK_UP = " AND ".join(f"{_FORMS} && %(forms_{index})s::text[]" for index in range(LOOKED_UP))
# A profile that matches several parts is returned by the first of them alone. Words are searched only if prefix matches
# do not fill the page: `begun` is materialized, so their count is known before the index of the forms is read.
_SEARCH = f"""
WITH begun AS MATERIALIZED (
    SELECT 1 AS tier, found.* FROM (
        (SELECT username_term AS term, {_SHOWN}
         FROM {{profiles}}
         WHERE verified AND %(tier)s = 1 AND username_term < %(end)s
           AND (username_term, user_id) > (%(begin)s, %(user_id)s::uuid)
           AND (%(prefix)s <= name_term AND name_term < username_term) IS NOT TRUE
         ORDER BY username_term, user_id LIMIT %(limit)s)
        UNION ALL
        (SELECT name_term, {_SHOWN}
         FROM {{profiles}}
         WHERE verified AND %(tier)s = 1 AND name_term < %(end)s
           AND (name_term, user_id) > (%(begin)s, %(user_id)s::uuid)
           AND (%(prefix)s <= username_term AND username_term <= name_term) IS NOT TRUE
         ORDER BY name_term, user_id LIMIT %(limit)s)
    ) AS found
    ORDER BY term COLLATE "C", user_id LIMIT %(limit)s
), worded AS (
    SELECT CASE WHEN words ~ ALL(%(typed)s::text[]) THEN 2 ELSE 3 END AS tier, username_term AS term, {_SHOWN}
    FROM (
        SELECT *, username_words || COALESCE(name_words, '') AS words FROM {{profiles}}
        WHERE verified AND {_LOOK_UP}
          AND {_BEGINS.format(column="username_term")} IS NOT TRUE AND {_BEGINS.format(column="name_term")} IS NOT TRUE
    ) AS candidate
    WHERE cardinality(%(forms_0)s::text[]) > 0 AND (SELECT count(*) FROM begun) < %(limit)s
      AND words ~ ALL(%(near)s::text[])
)
SELECT * FROM begun
UNION ALL
(SELECT * FROM worded
 WHERE (tier, term, user_id) > (%(tier)s, %(term)s COLLATE "C", %(user_id)s::uuid)
 ORDER BY tier, term, user_id LIMIT %(limit)s)
ORDER BY tier, term, user_id LIMIT %(limit)s
"""  # noqa: S608 - put together from what stands above


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    display_name: str
    bio: str
    avatar_url: str
    verified: bool
    updated_at: datetime
    deleted: bool = False

    def shown(self) -> PublicProfile:
        return PublicProfile(
            user_id=self.user_id,
            username=self.username,
            display_name=self.display_name,
            bio=self.bio,
            avatar_url=self.avatar_url,
            verified=self.verified,
            updated_at=self.updated_at,
            deleted=self.deleted,
        )


class OwnRow(ProfileRow, frozen=True, kw_only=True):
    presence: PresenceCode
    language: LanguageCode | None

    def own(self) -> OwnProfile:
        return OwnProfile(**{name: getattr(self, name) for name in OwnProfile.__struct_fields__})


class _User(msgspec.Struct, frozen=True):
    user_id: str


class Match(ProfileRow, frozen=True, kw_only=True):
    """A profile found by a search, with its tier and the matching term."""

    tier: int
    term: str


class _Nothing(msgspec.Struct, frozen=True):
    """Row type of a query without rows, which returns the position alone."""


class Updated(ProfileRow, frozen=True, kw_only=True):
    """A profile with the sequence of its last profile.updated that changed what others are shown."""

    updated_sequence: int


class Registration(msgspec.Struct, frozen=True):
    """A user's registration, as recorded in the read model."""

    registration_id: str
    registered_username: str | None
    registered_name: str | None
    verified: bool
    has_profile: bool


class SearchCursor(msgspec.Struct, frozen=True):
    tier: Annotated[int, Meta(ge=1, le=3)]
    term: Annotated[str, Meta(pattern=r"^[^\x00]*\Z")]
    user_id: Id


class ProfileQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def find(self, user_id: str, position: Position, *, unverified: bool) -> tuple[OwnProfile | None, Position]:
        """Returns the profile once the read model has reached the position; None if it has no profile of that user.

        `unverified`: include a user whose address is not verified; for the user's own profile only.
        """
        await self._model.wait_for(position)
        rows, reached = await self._model.select(
            OwnRow,
            f"""
            SELECT {_OWN}, {_DELETED} FROM {{profiles}} AS p
            WHERE user_id = %(user_id)s AND sequence IS NOT NULL AND (verified OR %(unverified)s)
            """,  # noqa: S608
            {"user_id": user_id, "unverified": unverified},
        )
        return (rows[0].own() if rows else None), reached

    async def registration(self, user_id: str, position: Position) -> Registration | None:
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            Registration,
            """
            SELECT registration_id, registered_username, registered_name, verified,
                   sequence IS NOT NULL AS has_profile
            FROM {profiles} WHERE user_id = %(user_id)s AND registration_id IS NOT NULL
            """,
            {"user_id": user_id},
        )
        return rows[0] if rows else None

    async def search(
        self, query: str, position: Position, *, limit: int, after: SearchCursor | None
    ) -> tuple[list[PublicProfile], SearchCursor | None, Position]:
        """Searches profiles by name. Returns each match once, in three tiers.

        First usernames or display names that begin with the query (the exact name first), then names that contain its
        words, then names that contain them with typos.
        """
        await self._model.wait_for(position)
        sought = parse_query(query)
        if not sought.prefix:
            return [], None, (await self._model.select(_Nothing, "SELECT WHERE false"))[1]
        rows, reached = await self._model.select(
            Match,
            _SEARCH,
            {
                "prefix": sought.prefix,
                "end": sought.prefix + _LAST,
                # A single lower bound: an index scan uses only one of two.
                "begin": max(after.term, sought.prefix) if after else sought.prefix,
                **{f"forms_{index}": forms for index, forms in enumerate(_filled(sought.forms))},
                "typed": sought.typed,
                "near": sought.near,
                "tier": after.tier if after else 1,
                "term": after.term if after else "",
                "user_id": after.user_id if after else _NOBODY,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = SearchCursor(page[-1].tier, page[-1].term, page[-1].user_id) if len(rows) > limit else None
        return [row.shown() for row in page], more, reached

    async def find_hidden(self, user_ids: Sequence[str], position: Position) -> list[str]:
        """Returns which of the users hide when they are online."""
        await self._model.wait_for(position)
        rows, _ = await self._model.select(
            _User,
            "SELECT user_id FROM {profiles} WHERE user_id = ANY(%(user_ids)s::uuid[]) AND presence = 'nobody'",
            {"user_ids": list(user_ids)},
        )
        return [row.user_id for row in rows]

    async def backfill(self, user_ids: Sequence[str], after: int, limit: int) -> list[tuple[int, PublicProfile]]:
        """Returns these users' profiles updated after the sequence, each with the sequence of its last update."""
        rows, _ = await self._model.select(
            Updated,
            f"""
            SELECT {_SHOWN}, updated_sequence, {_DELETED} FROM {{profiles}} AS p
            WHERE user_id = ANY(%(user_ids)s::uuid[]) AND updated_sequence > %(after)s
            ORDER BY updated_sequence LIMIT %(limit)s
            """,  # noqa: S608
            {"user_ids": list(user_ids), "after": after, "limit": limit},
        )
        return [(row.updated_sequence, row.shown()) for row in rows]

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)


def _filled(forms: list[list[str]]) -> list[list[str]]:
    """Pads the forms to the number of the statement's parameters; a repeated look-up costs nothing."""
    return (forms or [[]]) + (forms or [[]])[:1] * (LOOKED_UP - max(1, len(forms)))
