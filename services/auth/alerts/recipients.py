"""Who gets the mail of an alert: the account's current address, and those that it has left in the last days."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from contracts import envelope
from contracts.positions import Position
from services.auth.claim_keys import ClaimKeys
from services.auth.email_change.chain import earlier, follow
from services.auth.email_change.decisions import is_present
from services.auth.queries import Queries
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from streams.reactions.retries import RetryLater


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    email: str
    username: str
    language: str
    claim_key: str
    # End of the time in which it is still the account's; None: it is the current one.
    until: datetime | None = None


class Recipients:
    def __init__(
        self,
        aggregates: Aggregates,
        keys: ClaimKeys,
        users: Queries,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._aggregates = aggregates
        self._keys = keys
        self._users = users
        self._clock = clock

    async def of(self, user_id: str, position: Position) -> list[Recipient]:
        """Returns the user's addresses, the current one first, as of the position or later.

        Raises:
            RetryLater: the current address is not known yet.
            VestnikError: a read model does not answer, or has not reached the position.
        """
        email, now = await self._users.own_address(user_id, position), self._clock()
        chain = await follow(
            self._aggregates, await email_key(self._aggregates.addresses, self._keys, email), user_id, now
        )
        if not chain or not is_present(chain[-1].loaded.state, user_id):
            raise RetryLater("the read model does not have the account's address yet")
        present = chain[-1]
        left = await earlier(self._aggregates, present.loaded.state, user_id, now)
        return [
            Recipient(
                email=state.email,
                username=state.username,
                language=state.language,
                claim_key=address.key,
                until=state.owner_until,
            )
            for address in (present, *left)
            if (state := address.loaded.state).email
        ]
