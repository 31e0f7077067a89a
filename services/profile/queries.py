"""What the profile service reads, from the read model `profiles` alone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.fields import Id
from contracts.positions import Position
from projections.engine.read_model import ReadModel
from projections.profiles import Profiles, search_term
from services.profile.domain import ShownProfile

# Behind every text that begins with a prefix, in the order of code points.
_LAST = "\U0010ffff"
# Before every user.
_NOBODY = "00000000-0000-0000-0000-000000000000"

_SHOWN = "user_id, username, display_name, bio, avatar_url, verified, updated_at"


class ProfileRow(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    display_name: str
    bio: str
    avatar_url: str
    verified: bool
    updated_at: datetime

    def shown(self) -> ShownProfile:
        return ShownProfile(
            user_id=self.user_id,
            username=self.username,
            display_name=self.display_name,
            bio=self.bio,
            avatar_url=self.avatar_url,
            verified=self.verified,
            updated_at=self.updated_at,
        )


class Match(ProfileRow, frozen=True, kw_only=True):
    """A profile that a search found, by which term."""

    term: str


class Updated(ProfileRow, frozen=True, kw_only=True):
    """A profile with the sequence of its last profile.updated."""

    updated_sequence: int


class Registration(msgspec.Struct, frozen=True):
    """What the read model knows of a user whose registration it has read."""

    registration_id: str
    registered_username: str | None
    registered_name: str | None
    verified: bool
    has_profile: bool


class SearchCursor(msgspec.Struct, frozen=True):
    term: Annotated[str, Meta(pattern=r"^[^\x00]*\Z")]
    user_id: Id


class ProfileQueries:
    def __init__(self, model: ReadModel[Profiles]) -> None:
        self._model = model

    async def find(self, user_id: str, position: Position) -> tuple[ShownProfile | None, Position]:
        """The profile, once the read model has reached the position; None where it has no profile of that user."""
        await self._model.wait_for(position)
        rows, reached = await self._model.select(
            ProfileRow,
            f"SELECT {_SHOWN} FROM {{profiles}} WHERE user_id = %(user_id)s AND sequence IS NOT NULL",  # noqa: S608
            {"user_id": user_id},
        )
        return (rows[0].shown() if rows else None), reached

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
    ) -> tuple[list[ShownProfile], SearchCursor | None, Position]:
        """Whose username or display name begins with the query, in the order of what was found, each once."""
        await self._model.wait_for(position)
        prefix = search_term(query)
        rows, reached = await self._model.select(
            Match,
            f"""
            SELECT term, {_SHOWN} FROM (
                (SELECT username_term AS term, {_SHOWN}
                 FROM {{profiles}}
                 WHERE username_term < %(end)s AND (username_term, user_id) > (%(term)s, %(user_id)s::uuid)
                 ORDER BY username_term, user_id LIMIT %(limit)s)
                UNION ALL
                (SELECT name_term, {_SHOWN}
                 FROM {{profiles}}
                 WHERE name_term < %(end)s AND (name_term, user_id) > (%(term)s, %(user_id)s::uuid)
                   AND NOT (username_term >= %(prefix)s AND username_term < %(end)s)
                 ORDER BY name_term, user_id LIMIT %(limit)s)
            ) AS found
            ORDER BY term COLLATE "C", user_id LIMIT %(limit)s
            """,  # noqa: S608
            {
                "prefix": prefix,
                "end": prefix + _LAST,
                # One lower bound alone: an index is entered at only one of two.
                "term": max(after.term, prefix) if after else prefix,
                "user_id": after.user_id if after else _NOBODY,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = SearchCursor(page[-1].term, page[-1].user_id) if len(rows) > limit else None
        return [row.shown() for row in page], more, reached

    async def updated_since(self, user_ids: Sequence[str], after: int, limit: int) -> list[tuple[int, ShownProfile]]:
        """The profiles of these people that were updated after the sequence, with that of the last update."""
        rows, _ = await self._model.select(
            Updated,
            f"""
            SELECT {_SHOWN}, updated_sequence FROM {{profiles}}
            WHERE user_id = ANY(%(user_ids)s::uuid[]) AND updated_sequence > %(after)s
            ORDER BY updated_sequence LIMIT %(limit)s
            """,  # noqa: S608
            {"user_ids": list(user_ids), "after": after, "limit": limit},
        )
        return [(row.updated_sequence, row.shown()) for row in rows]

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)
