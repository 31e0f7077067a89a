"""Failed logins as rows of the audit, read from auth's stream, and their merge with the rows of sessions."""

from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import datetime

import msgspec
from nats.aio.client import Client

from contracts import catalogue
from contracts.envelope import Envelope, now
from contracts.events.event import Event
from contracts.events.login_failure import LoginFailed
from contracts.subjects import AUTH, login_failures
from infra.history.event_history import SKEW
from infra.history.login_audit import Query, Row, Unreadable, messages_of
from infra.history.usernames import Usernames
from streams.log import Log
from streams.message import Message


async def failure_rows(nc: Client, query: Query, user_id: str | None) -> AsyncGenerator[list[Row], None]:
    """Yields failed logins in pages, in the order of the stream, up to its current end.

    `user_id`: only to this account, whichever user the query names.

    Raises:
        OperatorError: there is no stream of auth.
        Unreadable: at the end, if events could not be read.
    """
    async for page in account_rows(nc, query, AUTH, login_failures(user_id or "*"), _row):
        yield page


async def account_rows(
    nc: Client,
    query: Query,
    stream: str,
    subject_filter: str,
    row_of: Callable[[Envelope, Event], Row | None],
) -> AsyncGenerator[list[Row], None]:
    """Yields the rows of events of accounts, with the accounts' usernames; `row_of` makes them without.

    Raises:
        OperatorError: there is no such stream.
        Unreadable: at the end, if events could not be read.
    """
    log, unreadable = Log(nc), list[str]()
    usernames, after = Usernames(log), await log.end_before(stream, query.since - SKEW) if query.since else 0
    async for messages in messages_of(nc, stream, subject_filter, query.until, after=after):
        rows = [row for message in messages if (row := _opened(message, row_of, unreadable)) and query.wants(row)]
        wanted = [row for row in rows if query.wants_origin(row.device, row.address)]
        names = await usernames.of(row.user_id for row in wanted if row.user_id is not None)
        yield [
            msgspec.structs.replace(row, username=names.get(row.user_id)) if row.user_id is not None else row
            for row in wanted
        ]
    if unreadable:
        raise Unreadable(unreadable)


async def merged(*sources: AsyncGenerator[list[Row], None]) -> AsyncGenerator[list[Row], None]:
    """Yields the rows of all sources in pages, in the order of time; keeps one page of each in memory.

    Raises:
        OperatorError: a source raised it.
        Unreadable: at the end, with what was unreadable in any of the sources.
    """
    unreadable = list[str]()
    waiting: dict[AsyncGenerator[list[Row], None], list[Row]] = {source: [] for source in sources}
    while waiting:
        for source in [source for source, rows in waiting.items() if not rows]:
            try:
                waiting[source] = await anext(source)
            except StopAsyncIteration:
                del waiting[source]
            except Unreadable as error:
                unreadable += error.positions
                del waiting[source]
        if all(waiting.values()):
            yield _take(waiting.values())
    if unreadable:
        raise Unreadable(unreadable)


def _take(pages: Iterable[list[Row]]) -> list[Row]:
    """Removes from the pages the rows that no later page can precede, and returns them in the order of time."""
    pages = list(pages)
    bound = min((max(row.at for row in page) for page in pages), default=None)
    taken: list[Row] = []
    for page in pages:
        early = [row for row in page if bound is None or row.at <= bound]
        page[:] = [row for row in page if bound is not None and row.at > bound]
        taken += early
    return sorted(taken, key=_time)


def _time(row: Row) -> datetime:
    return row.at


def _opened(message: Message, row_of: Callable[[Envelope, Event], Row | None], unreadable: list[str]) -> Row | None:
    try:
        envelope = message.envelope()
        event = catalogue.decode(envelope.type, envelope.schema, envelope.data)
    except (msgspec.DecodeError, LookupError):
        unreadable.append(f"{message.stream} {message.sequence}")
        return None
    return row_of(envelope, event)


def _row(envelope: Envelope, event: Event) -> Row | None:
    if not isinstance(event, LoginFailed):
        return None
    # The key may be there for weeks more.
    is_kept = event.origin_until is None or now() < event.origin_until
    return Row(
        at=envelope.at,
        event=event.TYPE,
        user_id=event.user_id,
        username=None,
        session_id=None,
        device=event.device if is_kept else "",
        address=event.address if is_kept else "",
        reason=event.reason,
        count=event.count,
    )
