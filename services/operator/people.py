"""A person as an operator may see them: the account, the public profile, and counts.

No e-mail address is shown or searched for: only its holder may learn whether an address has an account, and the keys
that addresses are claimed with belong to auth.
"""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar

import msgspec

from contracts.envelope import now
from contracts.errors import NotFound, VestnikError
from contracts.subjects import AUTH, CONTACT, MESSAGING, PROFILE, SESSION
from contracts.values.ids import is_id, pair_id
from projections.registry import choose
from services.operator.history.queries import HistoryQueries
from services.operator.queries import ConversationCounts, FriendCounts, PersonQueries, Profile, SessionCounts

T = TypeVar("T")

# Aggregates listed per kind.
_NAMED = 10


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """One of the person's aggregates, to browse its events."""

    stream: str
    # As in the subject: `user`, `session`, `friendship` … (services/operator/history/aggregate_kinds.py).
    kind: str
    aggregate_id: str
    # The other person, if the aggregate belongs to two.
    with_user_id: str | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    created_at: datetime
    email_verified: bool
    # None until the address is verified: before, the profile is not public.
    profile: Profile | None
    # None if the read model could not be read; `unknown` then names it.
    sessions: SessionCounts | None
    friends: FriendCounts | None
    conversations: ConversationCounts | None
    # Of the person's own aggregates.
    dead_letters: int | None
    # The newest of each kind.
    aggregates: list[Aggregate]
    # Read models that could not be read.
    unknown: list[str]


class People:
    def __init__(self, queries: PersonQueries, history: HistoryQueries) -> None:
        self._queries = queries
        self._history = history

    async def id_of(self, user: str) -> str | None:
        """Returns the id of the person with this id or username; None: there is no such username.

        Raises:
            ReadModelBehind, Unavailable: the accounts cannot be read.
        """
        name_or_id = user.strip().lower()
        return name_or_id if is_id(name_or_id) else await self._queries.user_called(name_or_id)

    async def find(self, user: str) -> Person:
        """Returns the person with this id or username.

        Raises:
            NotFound: there is none.
            ReadModelBehind, Unavailable: the accounts cannot be read.
        """
        user_id = await self.id_of(user)
        account = await self._queries.account(user_id) if user_id else None
        if account is None:
            raise NotFound("There is no person of this id or username.")
        parts = _Parts()
        queries, user_id = self._queries, account.user_id
        profile, sessions, friends, conversations, letters = await asyncio.gather(
            parts.part("profiles", queries.profile(user_id)),
            parts.part("sessions", queries.sessions(user_id, now())),
            parts.part("friends", queries.friends(user_id)),
            parts.part("conversations", queries.conversations(user_id)),
            parts.part("dead_letters", self._letters(user_id)),
        )
        opened, known, peers = await asyncio.gather(
            parts.part("sessions", queries.newest_sessions(user_id, _NAMED)),
            parts.part("friends", queries.newest_friends(user_id, _NAMED)),
            parts.part("conversations", queries.newest_peers(user_id, _NAMED)),
        )
        return Person(
            user_id=user_id,
            username=account.username or "",
            created_at=account.created_at,
            email_verified=account.email_verified,
            profile=profile,
            sessions=sessions,
            friends=friends,
            conversations=conversations,
            dead_letters=letters,
            aggregates=[*_own(user_id, opened or []), *_shared(user_id, known or [], peers or [])],
            unknown=sorted(parts.unknown),
        )

    async def _letters(self, user_id: str) -> int:
        """Number of dead letters of the person's own aggregates, in all read models."""
        letters = await asyncio.gather(*(self._history.letters_of(projection, user_id) for projection in choose(())))
        return sum(map(len, letters))


class _Parts:
    """Collects parts of a response, and the names of unavailable ones."""

    def __init__(self) -> None:
        self.unknown: set[str] = set()

    async def part(self, name: str, question: Awaitable[T]) -> T | None:
        try:
            return await question
        except VestnikError:
            self.unknown.add(name)
            return None


def _own(user_id: str, sessions: list[str]) -> list[Aggregate]:
    kinds = ((AUTH, "user"), (AUTH, "credential"), (PROFILE, "profile"), (MESSAGING, "notifications"))
    return [
        *(Aggregate(stream=stream, kind=kind, aggregate_id=user_id) for stream, kind in kinds),
        *(Aggregate(stream=SESSION, kind="session", aggregate_id=session_id) for session_id in sessions),
    ]


def _shared(user_id: str, friends: list[str], peers: list[str]) -> list[Aggregate]:
    kinds = (
        (CONTACT, "friendship", friends, ""),
        (MESSAGING, "conversation", peers, ""),
        (MESSAGING, "read", peers, f".{user_id}"),
    )
    return [
        Aggregate(stream=stream, kind=kind, aggregate_id=pair_id(user_id, other) + end, with_user_id=other)
        for stream, kind, others, end in kinds
        for other in others
    ]
