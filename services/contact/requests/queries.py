"""The timers of friend requests, in the read model `friend_request_deadlines`."""

from datetime import datetime

import msgspec

from contracts.values.ids import pair_id
from projections.engine.read_model import ReadModel
from services.contact.requests.domain import RequestTerms

_ERASED = "(requester_id IN (SELECT user_id FROM {erased}) OR addressee_id IN (SELECT user_id FROM {erased}))"
_AFTER = "(requested_at, pair_id) > (%(after_at)s, %(after_pair)s)"


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
        conditions = [_ERASED]
        if terms.remind_after is not None:
            conditions.append("reminded_at IS NULL AND requested_at <= %(remind)s")
        after_reminder = terms.cancel_after_reminder
        if after_reminder is not None:
            conditions.append("reminded_at <= %(cancel_reminded)s")
        elif terms.cancel_after is not None:
            conditions.append("requested_at <= %(cancel)s")
        rows, _ = await self._model.select(
            PendingRequest,
            f"""
            SELECT requester_id, addressee_id, requested_at, {_ERASED} AS erased FROM {{friend_request_deadlines}}
            WHERE ({" OR ".join(f"({condition})" for condition in conditions)})
                AND {"true" if after is None else _AFTER}
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
