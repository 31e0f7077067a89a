"""Queries of the contact service, all on the read model `friends`."""

from collections.abc import Collection
from datetime import UTC, datetime

import msgspec

from contracts.positions import Position
from contracts.values.field_types import Id
from projections.engine.read_model import ReadModel
from services.contact.domain import Relation

# Cursor of the first page: later than every friendship.
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class FriendRow(msgspec.Struct, frozen=True):
    friend_id: str
    state: str
    since: datetime
    # Sequence of the last event in CONTACT.
    sequence: int

    @property
    def relation(self) -> Relation:
        return Relation(self.state)


class FriendsCursor(msgspec.Struct, frozen=True):
    since: datetime
    friend_id: Id


class ChangeRow(msgspec.Struct, frozen=True):
    """A change of a friendship as the user sees it, or of the user's block, for backfill."""

    friend_id: str
    # The resulting state: accepted, incoming, outgoing, removed, blocked, unblocked.
    state: str
    since: datetime
    sequence: int


class BlockRow(msgspec.Struct, frozen=True):
    blocked_id: str
    since: datetime


class _Name(msgspec.Struct, frozen=True):
    user_id: str
    username: str | None


class _Found(msgspec.Struct, frozen=True):
    user_id: str


class _Count(msgspec.Struct, frozen=True):
    count: int


class FriendQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)

    async def is_verified(self, user_id: str) -> bool:
        """Whether the read model has a verified user of that id; False proves nothing, since it may lag."""
        rows, _ = await self._model.select(
            _Found, "SELECT user_id FROM {contacts} WHERE user_id = %(user_id)s AND verified", {"user_id": user_id}
        )
        return bool(rows)

    async def usernames(self, user_ids: Collection[str]) -> dict[str, str]:
        """Returns the usernames of these users, by id, as far as the read model has them."""
        rows, _ = await self._model.select(
            _Name,
            "SELECT user_id, username FROM {contacts} WHERE user_id = ANY(%(user_ids)s::uuid[])",
            {"user_ids": list(user_ids)},
        )
        return {row.user_id: row.username for row in rows if row.username is not None}

    async def pending(self, user_id: str, most: int) -> int:
        """Counts the user's unanswered requests in the read model, up to `most`."""
        rows, _ = await self._model.select(
            _Count,
            """
            SELECT count(*) AS count FROM (
                SELECT FROM {friends} WHERE user_id = %(user_id)s AND state = 'outgoing' LIMIT %(most)s
            ) AS pending
            """,
            {"user_id": user_id, "most": most},
        )
        return rows[0].count

    async def friends(
        self,
        user_id: str,
        state: Relation | None,
        position: Position,
        *,
        limit: int,
        after: FriendsCursor | None,
    ) -> tuple[list[FriendRow], FriendsCursor | None, Position]:
        """Returns a page of the user's friendships, latest first: those in a state, or all but ended ones."""
        await self._model.wait_for(position)
        which = "state <> 'removed'" if state is None else "state = %(state)s"
        rows, reached = await self._model.select(
            FriendRow,
            f"""
            SELECT friend_id, state, since, sequence FROM {{friends}}
            WHERE user_id = %(user_id)s AND {which} AND (since, friend_id) < (%(since)s, %(friend_id)s::uuid)
              -- Requests from and to erased users are ended soon.
              AND (state = 'accepted' OR NOT EXISTS (SELECT FROM {{erased}} AS e WHERE e.user_id = friend_id))
            ORDER BY since DESC, friend_id DESC LIMIT %(limit)s
            """,  # noqa: S608
            {
                "user_id": user_id,
                "state": state.value if state else None,
                "since": after.since if after else _END_OF_TIME,
                "friend_id": after.friend_id if after else _LAST_ID,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = FriendsCursor(page[-1].since, page[-1].friend_id) if len(rows) > limit else None
        return page, more, reached

    async def blocked(
        self, user_id: str, position: Position, *, limit: int, after: FriendsCursor | None
    ) -> tuple[list[BlockRow], FriendsCursor | None, Position]:
        """Returns a page of the users whom the user blocks, latest first."""
        await self._model.wait_for(position)
        rows, reached = await self._model.select(
            BlockRow,
            """
            SELECT blocked_id, since FROM {blocks}
            WHERE user_id = %(user_id)s AND (since, blocked_id) < (%(since)s, %(blocked_id)s::uuid)
            ORDER BY since DESC, blocked_id DESC LIMIT %(limit)s
            """,
            {
                "user_id": user_id,
                "since": after.since if after else _END_OF_TIME,
                "blocked_id": after.friend_id if after else _LAST_ID,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = FriendsCursor(page[-1].since, page[-1].blocked_id) if len(rows) > limit else None
        return page, more, reached

    async def backfill(self, user_id: str, after: int, limit: int) -> list[ChangeRow]:
        """Returns every change of the user's friendships and blocks after the sequence, in order."""
        rows, _ = await self._model.select(
            ChangeRow,
            """
            SELECT friend_id, state, since, sequence FROM {friend_changes}
            WHERE user_id = %(user_id)s AND sequence > %(after)s
            ORDER BY sequence LIMIT %(limit)s
            """,
            {"user_id": user_id, "after": after, "limit": limit},
        )
        return rows
