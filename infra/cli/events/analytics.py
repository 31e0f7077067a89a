"""`vestnik analytics`: hourly activity, and how long messages waited to be seen."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import click
import msgspec
from psycopg import Error as DatabaseError
from psycopg import errors
from psycopg.rows import class_row

from infra.cli.output.tables import Column, console, fitted
from infra.cli.params import Moment
from infra.runtime.run_file import with_running_addresses
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.analytics import Analytics
from projections.conversations import Conversations
from projections.engine.inspection.verify import NotBuilt
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect, database_unavailable

_DEFAULT = timedelta(days=1)
# A message is seen at the recipient's first seen mark that covers it, or at their first answer, as reported to clients.
_HOURS = """
WITH waited AS (
    SELECT date_trunc('hour', m.sent_at, 'UTC') AS hour, extract(epoch FROM LEAST(
        (SELECT s.seen_at FROM {seen_marks} AS s
         WHERE s.conversation_id = m.conversation_id AND s.reader_id = c.peer_id AND s.sequence >= m.sequence
         ORDER BY s.sequence LIMIT 1),
        (SELECT r.sent_at FROM {messages} AS r
         WHERE r.conversation_id = m.conversation_id AND r.sender_id = c.peer_id AND r.sequence > m.sequence
         ORDER BY r.sequence LIMIT 1)
    ) - m.sent_at)::float8 AS seconds
    FROM {messages} AS m
    JOIN {conversations} AS c ON c.conversation_id = m.conversation_id AND c.user_id = m.sender_id
    WHERE m.sent_at >= %(since)s AND m.sent_at < %(until)s
), seen AS (
    SELECT hour, count(seconds) AS seen, avg(seconds) AS mean,
        percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) AS at
    FROM waited GROUP BY hour
), active AS (
    SELECT hour, count(*) AS people FROM {active_people} WHERE hour >= %(since)s AND hour < %(until)s GROUP BY hour
)
SELECT active.hour, COALESCE(a.messages, 0) AS messages, active.people AS active_people,
    COALESCE(a.logins, 0) AS logins, COALESCE(seen.seen, 0) AS seen, seen.mean AS seen_mean_seconds,
    seen.at[1] AS seen_p50_seconds, seen.at[2] AS seen_p95_seconds
FROM active LEFT JOIN {analytics} AS a USING (hour) LEFT JOIN seen USING (hour)
ORDER BY hour
"""

_COLUMNS = (
    Column("hour (UTC)"),
    Column("messages", is_number=True),
    Column("people", is_number=True),
    Column("logins", is_number=True, optional=1),
    Column("seen", is_number=True),
    Column("mean s", is_number=True, optional=3),
    Column("p50 s", is_number=True),
    Column("p95 s", is_number=True, optional=2),
)


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one hour; `hour` is its beginning, in UTC."""

    hour: datetime
    messages: int
    # People who wrote, read messages or logged in.
    active_people: int
    logins: int
    # Messages of the hour that the recipient has seen by now, and how long those waited; None if there are none.
    seen: int
    seen_mean_seconds: float | None
    seen_p50_seconds: float | None
    seen_p95_seconds: float | None


@click.command()
@click.option(
    "--since",
    type=Moment(),
    help="From the hour of this time on: RFC 3339, or `7d` for seven days ago; default: one day ago.",
)
@click.option("--until", type=Moment(), help="Hours that begin before this time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per hour.")
def analytics(since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Shows hourly messages, active people and logins, and how long messages waited to be seen.

    Hours (UTC) without events are left out. The figures come from the read models `analytics` and `conversations`, so
    the last moments may be missing.
    """
    now = datetime.now(UTC)
    hours = asyncio.run(_collect(with_running_addresses(Settings.load()), since or now - _DEFAULT, until or now))
    if as_json:
        for hour in hours:
            sys.stdout.write(msgspec.json.encode(hour).decode() + "\n")
    else:
        _print(hours)


async def _collect(settings: Settings, since: datetime, until: datetime) -> list[Hour]:
    # Both read models belong to one service.
    owners = await ServiceSchemas.discover(settings.database_url)
    conn = await connect(owners.url(Analytics.run_by()), "vestnik analytics")
    try:
        return await hours(conn, since, until)
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await conn.close()


async def hours(conn: Connection, since: datetime, until: datetime) -> list[Hour]:
    """Returns the hours from the one of `since` on that begin before `until`.

    Raises:
        NotBuilt: a read model is not built.
    """
    query = _HOURS
    for projection in (Analytics, Conversations):
        query = projection.with_tables(query, {table: projection.view(table) for table in projection.table_names()})
    since = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    try:
        async with conn.cursor(row_factory=class_row(Hour)) as cursor:
            await cursor.execute(query.encode(), {"since": since, "until": until})
            return [msgspec.structs.replace(hour, hour=hour.hour.astimezone(UTC)) for hour in await cursor.fetchall()]
    except errors.UndefinedTable as error:
        raise NotBuilt(await _missing(conn)) from error


async def _missing(conn: Connection) -> type[Projection]:
    cursor = await conn.execute("SELECT to_regclass(%s)", (Analytics.view("analytics"),))
    return Conversations if await cursor.fetchone() != (None,) else Analytics


def _print(hours: list[Hour]) -> None:
    rows = [
        (
            f"{hour.hour:%Y-%m-%d %H:%M}",
            f"{hour.messages:,}",
            f"{hour.active_people:,}",
            f"{hour.logins:,}",
            f"{hour.seen:,}",
            *map(_seconds, (hour.seen_mean_seconds, hour.seen_p50_seconds, hour.seen_p95_seconds)),
        )
        for hour in hours
    ]
    shown = console()
    shown.print(fitted(_COLUMNS, rows, shown.width, lean=True))
    shown.print("seen: the messages of the hour that have been seen, and after how many seconds", style="dim italic")


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.1f}"
