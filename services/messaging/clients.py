"""Who may write to whom: asked of contact before every send, or remembered while that is as good.

Only a *yes* is remembered, and it is used only while the follower of CONTACT (reactions.py) has reached the position
that the request carries and had a sign of life within the last second: a removal that the caller may know of has
then been seen here too. In a cluster the sign is that it has read all that the stream's leader had: a consumer on a
node whose copy lags sends heartbeats like any other.
"""

import time
from collections import OrderedDict

from contracts.errors import NotFriends, Unavailable, UserNotFound
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import ContactServiceStub, IsFriendRequest, Relation
from contracts.subjects import CONTACT
from contracts.values.ids import pair_id
from infra.rpc.client import Client
from streams.quorum import Quorum

_TIMEOUT = 5.0
_REMEMBERED = 200_000
# Seconds for which a follower that says nothing is believed.
_ALIVE = 1.0


class FriendshipCache:
    """The friendships that contact said yes to, without those that have ended since."""

    def __init__(self, quorum: Quorum | None = None) -> None:
        """`quorum`: while it does not hold nothing is remembered, and afterwards everything is asked again."""
        self._quorum = quorum
        if quorum is not None:
            quorum.when_lost(self.forget_all)
        self._pairs: OrderedDict[str, None] = OrderedDict()
        self._follows = False
        self._reached = 0
        self._heard = float("-inf")
        # In a cluster: where CONTACT ended, as its leader said, and when it was asked.
        self._end = 0
        self._asked_at = float("-inf")
        # Where CONTACT had the last removal that the follower has read, or where the follower began. A yes that was
        # read before may be older than a removal.
        self.ended_at = 0

    def contains(self, pair: str, position: Position) -> bool:
        fresh = time.monotonic() - self._heard <= _ALIVE and self._reached >= position.sequence(CONTACT)
        return fresh and pair in self._pairs and (self._quorum is None or self._quorum.holds)

    def remember(self, pair: str, read_at: int) -> None:
        """Keeps a yes, unless the follower has already read a removal that it may not account for.

        `read_at`: where CONTACT ended when the yes was read, at the least.
        """
        if not self._follows or read_at < self.ended_at:
            return
        self._pairs[pair] = None
        if len(self._pairs) > _REMEMBERED:
            self._pairs.popitem(last=False)

    def forget(self, pair: str, sequence: int) -> None:
        """The friendship was removed at this sequence of CONTACT."""
        self.ended_at = max(self.ended_at, sequence)
        self._pairs.pop(pair, None)

    def forget_all(self, sequence: int = 0) -> None:
        """Any friendship may have been removed, at this sequence of CONTACT where it is known."""
        self.ended_at = max(self.ended_at, sequence)
        self._pairs.clear()

    def reached(self, sequence: int) -> None:
        """The follower has read CONTACT up to here, just now."""
        self._reached = max(self._reached, sequence)
        if self._quorum is None:
            self._heard = time.monotonic()
        else:
            self._compare()

    def ends(self, sequence: int, asked_at: float) -> None:
        """CONTACT ended here, as its leader said when it was asked at this time of the monotonic clock."""
        self._end, self._asked_at = sequence, asked_at
        self._compare()

    def _compare(self) -> None:
        if self._reached >= self._end:
            self._heard = max(self._heard, self._asked_at)

    def follows(self, sequence: int) -> None:
        """The follower reads CONTACT behind this sequence, the stream's end just now."""
        self._pairs.clear()
        # Not the higher of the two: after a loss that was given up the stream may end before what was read.
        self._reached = self.ended_at = sequence
        self._follows = True

    def reset(self) -> None:
        """Nobody follows CONTACT: removals are missed from here on."""
        self._pairs.clear()
        self._follows = False
        self._heard = self._asked_at = float("-inf")


class Friendships:
    def __init__(self, contact: Client, remembered: FriendshipCache) -> None:
        self._contact = contact
        self._stub = contact.stub(ContactServiceStub)
        self._remembered = remembered

    async def require_friends(self, user_id: str, peer_id: str, position: Position) -> None:
        """
        Raises:
            NotFriends: the two are not friends now.
            UserNotFound: there is no such user, or none with a verified address.
            Unavailable: contact does not answer, or from a stream that lies behind what is known here.
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
        # A contact of the release before does not say where it has read.
        if 0 < answer.read_at < known:
            raise Unavailable(retry_after=1)
        match answer.relation:
            case Relation.FRIENDS:
                self._remembered.remember(pair, answer.read_at)
            case Relation.NOT_FRIENDS:
                raise NotFriends
            case Relation.UNKNOWN_USER:
                raise UserNotFound
            case _:
                raise Unavailable
