"""The timers of friend requests, in the read model `friend_request_deadlines`."""

from datetime import datetime

import msgspec

from contracts.values.ids import pair_id
from projections.engine.read_model import ReadModel
from services.contact.requests.domain import RequestTerms

_PART = """
(SELECT r.pair_id, r.requester_id, r.addressee_id, r.requested_at, {erased} AS erased
 FROM {{friend_request_deadlines}} AS r {joined}
 WHERE {condition} AND {after}
 ORDER BY r.requested_at, r.pair_id LIMIT %(limit)s)
"""


class PendingRequest(msgspec.Struct, frozen=True):
    requester_id: str
    addressee_id: str
    requested_at: datetime
    # Whether one of the two was erased.
    erased: bool = False

    @property
    def pair_id(self) -> str:
        """The id of the friendship."""
        return pair_id(self.requester_id, self.addressee_id)


class DeadlineQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def due(
        self, terms: RequestTerms, now: datetime, limit: int, *, after: PendingRequest | None
    ) -> list[PendingRequest]:
        """Requests whose reminder or cancellation is due, or one of whose users was erased, the oldest first.

        The read model may lag.

        `after`: only those that come after this one in that order.
        """
        due = []
        if terms.remind_after is not None:
            due.append("reminded_at IS NULL AND requested_at <= %(remind)s")
        after_reminder = terms.cancel_after_reminder
        if after_reminder is not None:
            due.append("reminded_at <= %(cancel_reminded)s")
        elif terms.cancel_after is not None:
            due.append("requested_at <= %(cancel)s")
        # Each part by an index of its own, with an end of its own.
        parts = [_PART.format(joined="", condition=condition, erased="false", after=_after(after)) for condition in due]
        parts += [
            _PART.format(
                joined=f"JOIN {{erased}} AS e ON e.user_id = r.{column}",
                condition="true",
                erased="true",
                after=_after(after),
            )
            for column in ("requester_id", "addressee_id")
        ]
        rows, _ = await self._model.select(
            PendingRequest,
            f"""
            SELECT requester_id, addressee_id, requested_at, bool_or(erased) AS erased
            FROM ({" UNION ALL ".join(parts)}) AS found
            GROUP BY pair_id, requester_id, addressee_id, requested_at
            ORDER BY requested_at, pair_id LIMIT %(limit)s
            """,  # noqa: S608
            {
                "remind": None if terms.remind_after is None else now - terms.remind_after,
                "cancel_reminded": None if after_reminder is None else now - after_reminder,
                "cancel": None if terms.cancel_after is None else now - terms.cancel_after,
                "limit": limit,
                "after_at": None if after is None else after.requested_at,
                "after_pair": None if after is None else after.pair_id,
            },
        )
        return rows


def _after(request: PendingRequest | None) -> str:
    return "true" if request is None else "(r.requested_at, r.pair_id) > (%(after_at)s, %(after_pair)s)"
