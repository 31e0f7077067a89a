"""Login audit for the page: the newest first, page by page, from the read models `session_audit` and `login_failures`.

`vestnik audit sessions` returns the same from the streams.
"""

from datetime import datetime

import msgspec

from contracts.envelope import now
from contracts.events.login_failure import LoginFailed
from contracts.values.cursors import decode_cursor, encode_cursor
from infra.history.login_audit import Query, Row, reason_of, with_operators
from services.operator.history.queries import HistoryQueries
from services.operator.logins.queries import FailureRow, LoginQueries, LoginRow

_AUDIT, _FAILURES = "session_audit", "login_failures"
# Above every sequence.
_ALL = 2**63 - 1


class LoginEntry(Row, frozen=True, kw_only=True):
    """A line of the audit on the page."""

    # Whether the session's login came without the token of an earlier one; None: a failed login.
    new_device: bool | None = None
    # Whether it proved a second factor, then or earlier on a remembered device; None: a failed login.
    second_factor: bool | None = None


class LoginsFound(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the audit."""

    items: list[LoginEntry]
    # Cursor of the next page; None on the last one.
    older: str | None
    # Whether events could not be applied, so that rows may be missing.
    unreadable: bool


class _Before(msgspec.Struct, frozen=True):
    at: datetime
    sequence: int
    # Whether it is a failed login. Of the same time, failed logins come after sessions.
    failure: bool = False


async def newest(
    queries: HistoryQueries,
    logins: LoginQueries,
    query: Query,
    *,
    limit: int,
    cursor: str,
    session_id: str | None = None,
    failures: bool = False,
) -> LoginsFound:
    """Returns at most `limit` rows, from the cursor into the past.

    `session_id`: only of this session, so without failed logins. `failures`: failed logins too.

    Raises:
        Invalid: the cursor is not one of ours.
        ReadModelBehind: a read model has not been built yet.
        Unavailable: the database does not answer.
    """
    before = decode_cursor(cursor, _Before)
    failures = failures and session_id is None
    user_id = await logins.user_id_of(query.user) if query.user else None
    entries: list[tuple[_Before, LoginRow | FailureRow]] = []
    if not query.user or user_id:
        # Sequences begin at 1, so 0 is below every event at that time.
        until = (query.until, 0) if query.until else None
        below = (before.at, 0 if before.failure else before.sequence) if before else until
        rows = await logins.logins(
            query, user_id=user_id, session_id=session_id, before=below, now=now(), limit=limit + 1
        )
        entries += [(_Before(row.at, row.sequence), row) for row in rows]
        if failures:
            below = (before.at, before.sequence if before.failure else _ALL) if before else until
            failed = await logins.failures(query, user_id=user_id, before=below, limit=limit + 1)
            entries += [(_Before(row.at, row.sequence, failure=True), row) for row in failed]
    entries.sort(key=lambda entry: (entry[0].at, not entry[0].failure, entry[0].sequence), reverse=True)
    page = entries[:limit]
    names = await logins.usernames({row.user_id for _, row in page if isinstance(row, FailureRow) and row.user_id})
    items = [_session(row) if isinstance(row, LoginRow) else _failure(row, names) for _, row in page]
    return LoginsFound(
        items=await with_operators(items, logins.usernames),
        older=encode_cursor(page[-1][0]) if len(entries) > limit else None,
        unreadable=await queries.lacks_events(_AUDIT) or (failures and await queries.lacks_events(_FAILURES)),
    )


def _session(login: LoginRow) -> LoginEntry:
    return LoginEntry(
        at=login.at,
        event=login.event,
        user_id=login.user_id,
        username=login.username or "",
        session_id=login.session_id,
        device=login.device,
        address=login.address,
        reason=None if login.reason is None else reason_of(login.reason, login.actor, login.note),
        new_device=login.new_device,
        second_factor=login.second_factor,
    )


def _failure(failure: FailureRow, names: dict[str, str | None]) -> LoginEntry:
    return LoginEntry(
        at=failure.at,
        event=LoginFailed.TYPE,
        user_id=failure.user_id,
        username=None if failure.user_id is None else names.get(failure.user_id),
        session_id=None,
        device=failure.device,
        address=failure.address,
        reason=failure.reason,
        count=failure.count,
    )
