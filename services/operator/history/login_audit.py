"""Login audit for the page: the newest first, page by page, from the read model `session_audit`.

`vestnik audit sessions` returns the same from the stream.
"""

from datetime import datetime

import msgspec

from contracts.envelope import now
from contracts.values.cursors import decode_cursor, encode_cursor
from infra.history.login_audit import Query, Row, reason_of
from services.operator.history.queries import HistoryQueries, LoginRow

_AUDIT = "session_audit"


class LoginsFound(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the audit."""

    items: list[Row]
    # Cursor of the next page; None on the last one.
    older: str | None
    # Whether events could not be applied, so that rows may be missing.
    unreadable: bool


class _Before(msgspec.Struct, frozen=True):
    at: datetime
    sequence: int


async def newest(queries: HistoryQueries, query: Query, *, limit: int, cursor: str) -> LoginsFound:
    """Returns at most `limit` rows, from the cursor into the past.

    Raises:
        Invalid: the cursor is not one of ours.
        ReadModelBehind: the read model has not been built yet.
        Unavailable: the database does not answer.
    """
    before = decode_cursor(cursor, _Before)
    user_id = await queries.who_logged_in(query.user) if query.user else None
    rows: list[LoginRow] = []
    if not query.user or user_id:
        rows = await queries.logins(
            user_id=user_id,
            since=query.since,
            # Sequences begin at 1, so this is below every event at that time.
            before=(before.at, before.sequence) if before else (query.until, 0) if query.until else None,
            now=now(),
            refreshes=query.refreshes,
            limit=limit + 1,
        )
    page = rows[:limit]
    older = _Before(page[-1].at, page[-1].sequence) if len(rows) > limit else None
    return LoginsFound(
        items=[_row(row) for row in page],
        older=encode_cursor(older) if older else None,
        unreadable=await queries.lacks_events(_AUDIT),
    )


def _row(login: LoginRow) -> Row:
    return Row(
        at=login.at,
        event=login.event,
        user_id=login.user_id,
        username=login.username or "",
        session_id=login.session_id,
        device=login.device,
        address=login.address,
        reason=None if login.reason is None else reason_of(login.reason, login.actor, login.note),
    )
