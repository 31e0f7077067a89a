"""Creates data keys for other services: for users who exist, and for months that have begun or soon will."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from contracts import envelope
from contracts.errors import Invalid, UserNotFound, Violation
from contracts.personal_data.key_ids import MONTH_AHEAD, month_of, owner_of, seals_texts
from infra.security.key_ring import NoKey
from services.auth.domain import User
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.metrics import MASTER_KEY, unavailable
from streams.repository import Repository

# A caller's clock may be ahead.
_MARGIN = timedelta(days=1)


class DataKeyCreation:
    def __init__(
        self, users: Repository[User], keys: KeyCreation, *, clock: Callable[[], datetime] = envelope.now
    ) -> None:
        self._users = users
        self._keys = keys
        self._clock = clock

    async def create(self, key_ids: Collection[str]) -> None:
        """Creates those of the keys that do not exist. Repeatable, and safe at several replicas at once.

        Raises:
            UserNotFound: one of them is for a user who does not exist, or was erased; others may have been created.
            MessageNotFound: one of them is for a month whose texts were erased.
            Invalid: one of them is for texts of a month that begins later than in `MONTH_AHEAD`; nothing was created.
            KeysUnavailable: the store does not answer or has lost one of them, or there is no master key.
        """
        latest = f"{self._clock() + MONTH_AHEAD + _MARGIN:%Y-%m}"
        # The month of a key of origins is that of their end.
        if any(seals_texts(key_id) and (month_of(key_id) or "") > latest for key_id in key_ids):
            raise Invalid(violations=(Violation("/key_ids", "A month is too far ahead."),))
        for user_id in {owner_of(key_id) for key_id in key_ids}:
            if user_id is None or (await self._users.load(user_id)).state.created_at is None:
                raise UserNotFound
        await self.create_own(key_ids)

    async def create_own(self, key_ids: Collection[str]) -> None:
        """As `create`, for auth's own events: also for users who are about to be created."""
        try:
            await self._keys.create(key_ids)
        except NoKey as error:
            raise unavailable(MASTER_KEY, str(error)) from error
