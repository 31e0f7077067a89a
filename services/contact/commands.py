"""Load, decide, append: requests, accepts and ends friendships; blocks users."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from contracts import envelope
from contracts.errors import SelfBlock, SelfFriendship, TooManyPendingRequests, UserNotFound
from contracts.subjects import CONTACT, friendship
from contracts.values.ids import pair_id
from infra.rpc.call_context import Call
from services.contact.clients import People
from services.contact.domain import (
    Friendship,
    Relation,
    Status,
    asks,
    decide_add,
    decide_block,
    decide_remove,
    decide_unblock,
    evolve,
    relation,
)
from streams.log import Log
from streams.repository import Repository


class RelationAt(msgspec.Struct, frozen=True):
    """The relation of two users, as of a stream position."""

    friends: bool
    # The sequence of the pair's last event; 0 where there is none.
    sequence: int
    # The last sequence of CONTACT before the pair was read.
    read_at: int


class Requests(Protocol):
    """Pending requests, in the read model."""

    async def pending(self, user_id: str, most: int) -> int: ...


class ContactCommands:
    def __init__(
        self,
        log: Log,
        people: People,
        requests: Requests,
        *,
        most_pending: int,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`most_pending`: limit of unanswered requests per user."""
        self._log = log
        self._repository: Repository[Friendship] = Repository(
            log, subject=friendship, initial=Friendship(), evolve=evolve, tail_only=True
        )
        self._people = people
        self._requests = requests
        self._most_pending = most_pending
        self._clock = clock

    async def add(self, user_id: str, friend_id: str, call: Call) -> tuple[Relation, bool, int]:
        """Requests a friendship, or accepts the other user's request.

        Returns the user's view of the relation, whether this call made the request, and the sequence in CONTACT.

        Raises:
            SelfFriendship: both are the same person.
            UserNotFound: there is no such user, or none with a verified address.
            Blocked: the user blocks the other.
            RequestTooSoon: the pause after declined or withdrawn requests is not over.
            TooManyPendingRequests: the user has as many unanswered requests as allowed. They are counted in the read
                model, so requests made within its lag may exceed the limit.
        """
        if user_id == friend_id:
            raise SelfFriendship
        await self._require_people(user_id, friend_id)
        pair = pair_id(user_id, friend_id)
        # Only for a request, so that accepting and repeated calls work without the read model.
        if asks((await self._repository.load(pair)).state, user_id):
            await self._check_pending(user_id)
        outcome = await self._repository.execute(
            pair,
            lambda state: decide_add(state, user_id, friend_id, self._clock()),
            call.provenance(),
        )
        seen = relation(outcome.state, user_id)
        return seen, bool(outcome.events) and seen is Relation.OUTGOING, outcome.sequence

    async def remove(self, user_id: str, friend_id: str, call: Call) -> int:
        """Ends, declines or withdraws. Returns the sequence in CONTACT; 0 if the pair has no events."""
        outcome = await self._repository.execute(
            pair_id(user_id, friend_id),
            lambda state: decide_remove(state, user_id, friend_id),
            call.provenance(),
        )
        return outcome.sequence

    async def block(self, user_id: str, blocked_id: str, call: Call) -> int:
        """Blocks the other user, and ends a friendship or request. Returns the sequence in CONTACT.

        Raises:
            SelfBlock: both are the same person.
            UserNotFound: there is no such user, or none with a verified address.
        """
        if user_id == blocked_id:
            raise SelfBlock
        await self._require_people(user_id, blocked_id)
        outcome = await self._repository.execute(
            pair_id(user_id, blocked_id),
            lambda state: decide_block(state, user_id, blocked_id, self._clock()),
            call.provenance(),
        )
        return outcome.sequence

    async def unblock(self, user_id: str, blocked_id: str, call: Call) -> int:
        """Ends the block, also of a user who was erased. Returns the sequence in CONTACT; 0 if the pair has no events.

        Raises: as `block` does.
        """
        if user_id == blocked_id:
            raise SelfBlock
        if not await self._people.is_erased(blocked_id):
            await self._require_people(user_id, blocked_id)
        outcome = await self._repository.execute(
            pair_id(user_id, blocked_id),
            lambda state: decide_unblock(state, user_id, blocked_id, self._clock()),
            call.provenance(),
        )
        return outcome.sequence

    async def is_friend(self, user_id: str, friend_id: str) -> RelationAt:
        """Whether the two are friends, read from the stream.

        Raises:
            UserNotFound: there is no such user, or none with a verified address.
        """
        # Before the read, so that the result is at least as recent as this end.
        read_at = await self._log.end_of(CONTACT)
        loaded = await self._repository.load(pair_id(user_id, friend_id))
        if loaded.state.status is Status.NONE:
            # If the pair has any events, both users exist.
            await self._require_people(user_id, friend_id)
        return RelationAt(loaded.state.status is Status.ACCEPTED, loaded.sequence, read_at)

    async def _require_people(self, *user_ids: str) -> None:
        for user_id in user_ids:
            if not await self._people.known(user_id):
                raise UserNotFound

    async def _check_pending(self, user_id: str) -> None:
        if await self._requests.pending(user_id, self._most_pending) >= self._most_pending:
            raise TooManyPendingRequests
