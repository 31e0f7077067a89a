"""Which requests a sweep acts on."""

from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

from contracts.values.ids import new_id
from services.contact.requests.domain import RequestTerms
from services.contact.requests.process import FriendRequestProcess
from services.contact.requests.queries import PendingRequest

AT = datetime(2026, 1, 1, tzinfo=UTC)


class StayDue:
    """Requests that no sweep settles, such as those whose streams cannot be read."""

    def __init__(self, number: int) -> None:
        self.requests = [PendingRequest(new_id(), new_id(), AT + timedelta(seconds=second)) for second in range(number)]

    async def due(
        self, terms: RequestTerms, now: datetime, limit: int, *, after: PendingRequest | None
    ) -> list[PendingRequest]:
        first = 0 if after is None else self.requests.index(after) + 1
        return self.requests[first : first + limit]


async def test_requests_that_stay_due_do_not_hold_up_later_ones() -> None:
    deadlines = StayDue(1_001)
    process = FriendRequestProcess(Mock(), deadlines, RequestTerms.of_days(7, 14))
    pages = [await process.due() for _ in range(3)]
    assert [request for page in pages for request in page] == deadlines.requests
    assert await process.due() == pages[0]
