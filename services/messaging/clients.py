"""Checks before every send that two users are friends: by a call to contact, or from a cache while that is as good.

Only friendships are cached, not their absence. A cached one is used only while the follower of CONTACT (reactions.py)
has reached the request's position and was confirmed live within the last second: any removal that the caller may know
of has then been applied here too. In a cluster, live means that the follower has read up to the end reported by the
stream's leader, since a consumer on a lagging replica sends heartbeats like any other.
"""

import time

from contracts.errors import NotFriends, Unavailable, UserNotFound
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import ContactServiceStub, IsFriendRequest, Relation
from contracts.subjects import CONTACT
from contracts.values.ids import pair_id
from infra.rpc.client import Client
from projections.engine.erased_users import ErasedUsers
from streams.lru_cache import LruCache
from streams.quorum import Quorum

_TIMEOUT = 5.0
_REMEMBERED = 200_000
# Seconds for which a silent follower counts as live.
_ALIVE = 1.0


class FriendshipCache:
    """Cache of friendships confirmed by contact, without those removed since.

    Bounded in pairs; the one confirmed longest ago is evicted first.
    """

    def __init__(self, quorum: Quorum | None = None) -> None:
        """`quorum`: while it does not hold, the cache is not used; losing it clears the cache."""
        self._quorum = quorum
        if quorum is not None:
            quorum.when_lost(self.forget_all)
        self._pairs: LruCache[str, bool] = LruCache(_REMEMBERED)
        self._follows = False
        self._reached = 0
        self._current_at = float("-inf")
        # In a cluster: the end of CONTACT reported by its leader, and when it was requested.
        self._end = 0
        self._asked_at = float("-inf")
        # Sequence of the last removal that the follower has read, or of its start. A friendship read before that may
        # be older than a removal.
        self.ended_at = 0

    def contains(self, pair: str, position: Position) -> bool:
        fresh = time.monotonic() - self._current_at <= _ALIVE and self._reached >= position.sequence(CONTACT)
        return fresh and pair in self._pairs and (self._quorum is None or self._quorum.holds)

    def remember(self, pair: str, read_at: int) -> None:
        """Caches a friendship, unless the follower has already read a removal that may be newer.

        `read_at`: a lower bound for the end of CONTACT when contact read the friendship.
        """
        if not self._follows or read_at < self.ended_at:
            return
        self._pairs.put(pair, True)

    def forget(self, pair: str, sequence: int) -> None:
        """Drops a friendship that was removed at this sequence of CONTACT."""
        self.ended_at = max(self.ended_at, sequence)
        self._pairs.discard(pair)

    def forget_all(self, sequence: int = 0) -> None:
        """Clears the cache: any friendship may have been removed, at this sequence of CONTACT if it is known."""
        self.ended_at = max(self.ended_at, sequence)
        self._pairs.clear()

    def reached(self, sequence: int) -> None:
        """Records that the follower has just read CONTACT up to this sequence."""
        self._reached = max(self._reached, sequence)
        if self._quorum is None:
            self._current_at = time.monotonic()
        else:
            self._compare()

    def ends(self, sequence: int, asked_at: float) -> None:
        """Records the end of CONTACT that its leader reported. `asked_at`: monotonic time of the request."""
        self._end, self._asked_at = sequence, asked_at
        self._compare()

    def _compare(self) -> None:
        if self._reached >= self._end:
            self._current_at = max(self._current_at, self._asked_at)

    def follows(self, sequence: int) -> None:
        """Records that the follower starts after this sequence, the current end of CONTACT."""
        self._pairs.clear()
        # Not the maximum: after an accepted data loss the stream may end before what was read.
        self._reached = self.ended_at = sequence
        self._follows = True

    def reset(self) -> None:
        """Clears the cache because the follower has stopped, so that removals are missed from here on."""
        self._pairs.clear()
        self._follows = False
        self._current_at = self._asked_at = float("-inf")


class Friendships:
    def __init__(self, contact: Client, remembered: FriendshipCache, erased: ErasedUsers | None = None) -> None:
        """`erased`: the users who were erased, whose friends keep the friendship and its conversation; None: no one."""
        self._contact = contact
        self._erased = erased
        self._stub = contact.stub(ContactServiceStub)
        self._remembered = remembered

    async def require_present(self, user_id: str) -> None:
        """
        Raises:
            UserNotFound: the user was erased.
            Unavailable: that is not known yet.
        """
        if self._erased is not None and await self._erased.has(user_id):
            raise UserNotFound

    async def require_open_conversation(self, user_id: str, peer_id: str, position: Position) -> None:
        """
        Raises:
            NotFriends: the conversation is closed to the user, or there is no such peer.
            Unavailable: as `require_friends`.
        """
        if user_id == peer_id:
            raise NotFriends
        try:
            await self.require_friends(user_id, peer_id, position)
        except UserNotFound as error:
            raise NotFriends from error

    async def require_friends(self, user_id: str, peer_id: str, position: Position) -> None:
        """
        Raises:
            NotFriends: the two are not friends now.
            UserNotFound: there is no such user, or none with a verified address.
            Unavailable: contact does not answer, or has read less of CONTACT than is known here.
        """
        pair = pair_id(user_id, peer_id)
        if self._remembered.contains(pair, position):
            return
        known = max(self._remembered.ended_at, position.sequence(CONTACT))
        answer = await self._contact.call(
            self._stub.is_friend,
            IsFriendRequest(user_id=user_id, friend_id=peer_id),
            timeout=_TIMEOUT,
            idempotent=True,
        )
        if answer.relation == Relation.UNKNOWN_USER:
            raise UserNotFound
        if answer.read_at < known:
            raise Unavailable(retry_after=1)
        match answer.relation:
            case Relation.FRIENDS:
                self._remembered.remember(pair, answer.read_at)
            case Relation.NOT_FRIENDS:
                raise NotFriends
            case _:
                raise Unavailable
