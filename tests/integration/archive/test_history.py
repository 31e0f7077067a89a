"""Looking into the history of streams that were stored at another time than their events happened."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, encode, seal
from contracts.event import Event
from contracts.events.session import SessionCreated
from contracts.identifiers import new_id
from contracts.subjects import MESSAGING, SESSION
from infra.audit import Query as AuditQuery
from infra.audit import rows
from infra.history import Query, selected
from streams.restoring import Kept, Restoring
from tests.integration.archive.conftest import sent

_BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
_PAGE = 1_000


def kept(number: int, event: Event, subject: Callable[[str], str]) -> Kept:
    """The event that happened so many seconds after the beginning."""
    at = _BEGIN + timedelta(seconds=number)
    sealed = seal(event, aggregate_id=new_id(), version=1, provenance=Provenance(), at=at)
    return Kept(subject(sealed.aggregate_id), encode(sealed), {"Nats-Msg-Id": sealed.id})


async def imported(nats: Client, stream: str, events: list[Kept]) -> None:
    for begin in range(0, len(events), _PAGE):
        await Restoring(nats, stream).put(begin + 1, events[begin : begin + _PAGE])


async def found(nats: Client, *, since: datetime | None = None, until: datetime | None = None) -> int:
    query = Query(streams=(MESSAGING,), since=since, until=until)
    return len([shown async for page in selected(nats, query) for shown in page])


async def test_a_span_of_time_is_that_of_the_events_and_not_of_the_import(streams: Client) -> None:
    await imported(streams, MESSAGING, [kept(number, sent(1), subjects.conversation) for number in range(1, 2_001)])
    middle = _BEGIN + timedelta(seconds=1_500)
    assert await found(streams, until=middle) == 1_499
    assert await found(streams, since=middle) == 501
    assert await found(streams, since=middle, until=middle + timedelta(seconds=100)) == 100


async def test_an_audit_of_a_span_of_time_is_that_of_the_logins_and_not_of_the_import(streams: Client) -> None:
    login = SessionCreated(
        user_id=new_id(), username="anna", device="", address="", expires_at=_BEGIN.replace(year=2999)
    )
    # More than a reader gives out at once.
    await imported(streams, SESSION, [kept(number, login, subjects.session) for number in range(1, 8_001)])
    until = _BEGIN + timedelta(seconds=7_000)
    pages = rows(streams, AuditQuery(until=until))
    assert len([row async for page in pages for row in page]) == 6_999
