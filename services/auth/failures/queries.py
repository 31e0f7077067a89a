"""Queries of failed logins on the read model `login_failures`."""

from datetime import datetime

import msgspec

from projections.engine.read_model import ReadModel

_OF_USER = """
SELECT at, reason, device, address, count, since
FROM {login_failures}
WHERE user_id = %(user_id)s AND at >= %(since)s AND at < %(before)s
ORDER BY at DESC, sequence DESC
LIMIT %(limit)s
"""


class FailedLoginRow(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    reason: str
    device: str | None
    address: str | None
    # How many failures these are, and when the first of them happened.
    count: int
    since: datetime


class FailureQueries:
    def __init__(self, failures: ReadModel) -> None:
        self._failures = failures

    async def of_user(
        self, user_id: str, *, since: datetime | None, before: datetime | None, limit: int
    ) -> list[FailedLoginRow]:
        """Returns the newest failed logins to the account, from `since` on and before `before`, newest first.

        Raises:
            ReadModelBehind: the read model has not been built yet.
        """
        rows, _ = await self._failures.select(
            FailedLoginRow,
            _OF_USER,
            {"user_id": user_id, "since": since or "-infinity", "before": before or "infinity", "limit": limit},
        )
        return rows
