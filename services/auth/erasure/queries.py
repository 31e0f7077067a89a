"""The timers of erasures, in the read model `erasures`."""

from datetime import datetime

import msgspec

from projections.engine.read_model import ReadModel

_DUE = """
SELECT user_id, coalesce(erased_at, erase_at) AS since, erased_at IS NOT NULL AS erased FROM {erasures}
WHERE (erased_at <= %(complete)s OR (erased_at IS NULL AND erase_at <= %(now)s))
    AND (%(after_since)s::timestamptz IS NULL
        OR (coalesce(erased_at, erase_at), user_id) > (%(after_since)s, %(after_user)s::uuid))
ORDER BY since, user_id LIMIT %(limit)s
"""


class DueErasure(msgspec.Struct, frozen=True):
    user_id: str
    # When it was due, or was done.
    since: datetime
    # Whether the account was erased, and only the end of its keys is to be recorded.
    erased: bool


class ErasureQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def due(self, now: datetime, complete: datetime, limit: int, *, after: DueErasure | None) -> list[DueErasure]:
        """Erasures that are due, and those done before `complete`, the oldest first. The read model may lag.

        `after`: only those that come after this one in that order.
        """
        rows, _ = await self._model.select(
            DueErasure,
            _DUE,
            {
                "now": now,
                "complete": complete,
                "limit": limit,
                "after_since": None if after is None else after.since,
                "after_user": None if after is None else after.user_id,
            },
        )
        return rows
