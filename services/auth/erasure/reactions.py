"""Reaction to the erasure of an account, and to its request: ends its sessions, and removes what else is left of it.

Auth's own commands end the sessions synchronously; this covers the case that their process or the session service was
down then.
"""

from contracts.durable_consumers import ERASURES
from contracts.envelope import Provenance, Recorded
from contracts.events.user import UserErased, UserErasureRequested
from services.auth.clients import Sessions
from services.auth.domain import ERASURE_REQUESTED, User
from services.auth.erasure.removal import Removal
from streams.reactions.reaction import Reaction, reacts_to
from streams.repository import Repository


class AccountEndings(Reaction):
    durable = ERASURES

    def __init__(self, users: Repository[User], sessions: Sessions, removal: Removal) -> None:
        self._users = users
        self._sessions = sessions
        self._removal = removal

    @reacts_to(UserErasureRequested)
    async def requested(self, event: Recorded[UserErasureRequested]) -> None:
        user = (await self._users.load(event.aggregate_id)).state
        # A login has cancelled it otherwise, and its session stays.
        if user.erase_at == event.data.erase_at:
            await self._sessions.end_all(
                user_id=event.aggregate_id, reason=ERASURE_REQUESTED, provenance=_provenance(event)
            )

    @reacts_to(UserErased)
    async def erased(self, event: Recorded[UserErased]) -> None:
        """
        Raises:
            VestnikError: a service or a store does not answer; what is done is repeated.
        """
        await self._removal.remove(event.aggregate_id, _provenance(event))


def _provenance(event: Recorded[UserErasureRequested] | Recorded[UserErased]) -> Provenance:
    return Provenance.caused_by(event, actor=event.actor)
