"""Who may write to whom: asked of contact before every send, or remembered while that is as good.

Only a *yes* is remembered, and it is used only while the follower of CONTACT (reactions.py) has reached the position
that the request carries and had a sign of life within the last second: a removal that the caller may know of has
then been seen here too.
"""

import time
from collections import OrderedDict

from contracts.errors import NotFriends, Unavailable, UserNotFound
from contracts.identifiers import pair_id
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import ContactServiceStub, IsFriendRequest, Relation
from contracts.subjects import CONTACT
from infra.rpc.client import Client

_TIMEOUT = 5.0
_REMEMBERED = 200_000
# Seconds for which a follower that says nothing is believed.
_ALIVE = 1.0


class Remembered:
    """The friendships that contact said yes to, less those that have ended since."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[str, None] = OrderedDict()
        self._reached = 0
        self._heard = float("-inf")
        # How many have ended, as the follower counts.
        self.ended = 0

    def holds(self, pair: str, position: Position) -> bool:
        fresh = time.monotonic() - self._heard <= _ALIVE and self._reached >= position.of(CONTACT)
        return fresh and pair in self._pairs

    def remember(self, pair: str, ended_before: int) -> None:
        """A yes; it does not count where a friendship ended while it was on its way here."""
        if ended_before != self.ended:
            return
        self._pairs[pair] = None
        if len(self._pairs) > _REMEMBERED:
            self._pairs.popitem(last=False)

    def forget(self, pair: str) -> None:
        self.ended += 1
        self._pairs.pop(pair, None)

    def reached(self, sequence: int) -> None:
        """The follower has read CONTACT up to here, just now."""
        self._reached = max(self._reached, sequence)
        self._heard = time.monotonic()

    def lost(self) -> None:
        """The follower begins anew: what ended in between would be missed."""
        self._pairs.clear()
        self.ended += 1
        self._heard = float("-inf")


class Friendships:
    def __init__(self, contact: Client, remembered: Remembered) -> None:
        self._contact = contact
        self._stub = contact.stub(ContactServiceStub)
        self._remembered = remembered

    async def require(self, user_id: str, peer_id: str, position: Position) -> None:
        """
        Raises:
            NotFriends: the two are not friends now.
            UserNotFound: one of them has never registered.
            Unavailable: contact does not answer.
        """
        pair = pair_id(user_id, peer_id)
        if self._remembered.holds(pair, position):
            return
        ended_before = self._remembered.ended
        answer = await self._contact.call(
            self._stub.is_friend,
            IsFriendRequest(user_id=user_id, friend_id=peer_id),
            timeout=_TIMEOUT,
            idempotent=True,
        )
        match answer.relation:
            case Relation.FRIENDS:
                self._remembered.remember(pair, ended_before)
            case Relation.NOT_FRIENDS:
                raise NotFriends
            case Relation.UNKNOWN_USER:
                raise UserNotFound
            case _:
                raise Unavailable
