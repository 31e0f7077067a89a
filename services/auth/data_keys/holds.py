"""Legal holds: while one is on a person's data, neither an erasure nor the retention destroys its keys.

The person is not notified. Messages past their retention are still deleted for everyone; otherwise both people of a
conversation would notice the hold. Their texts stay readable in the streams.
"""

from contracts.envelope import Provenance
from contracts.errors import UserNotFound
from services.auth.data_keys.domain import KeyRing, decide_hold, decide_release
from services.auth.domain import User
from streams.repository import Repository


class Holds:
    def __init__(self, users: Repository[User], rings: Repository[KeyRing]) -> None:
        self._users = users
        self._rings = rings

    async def place(self, user_id: str, reason: str, provenance: Provenance) -> bool:
        """Places a hold; False if there is one already. Idempotent.

        Raises:
            UserNotFound: there is no such user, or the keys of their data were destroyed.
            KeysUnavailable: the reason cannot be sealed now.
        """
        if (await self._users.load(user_id)).state.created_at is None:
            raise UserNotFound
        result = await self._rings.execute(user_id, lambda ring: decide_hold(ring, reason), provenance)
        return bool(result.events)

    async def release(self, user_id: str, provenance: Provenance) -> bool:
        """Releases the hold; False if there is none. Idempotent. What waited for it is erased by the next sweeps."""
        return bool((await self._rings.execute(user_id, decide_release, provenance)).events)
