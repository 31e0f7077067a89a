"""Rows whose end has come: no reader sees them any more, and they are removed later.

An event finds a row unless the row has ended by the time of the event. So whether a row was removed makes no difference
to later events, as long as they happen after its end: a row is removed when every event before that has been applied,
and an hour has passed besides, by which an event's time and the time at which it was stored may differ.
"""

from datetime import datetime

from psycopg import sql

from projections.engine.storage.builds import Connection
from projections.engine.storage.tables import Table

# Of one statement, so that it is short.
AT_ONCE = 5_000
_REMOVE = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {table} WHERE {ends} <= least(now(), %s::timestamptz) - interval '1 hour' LIMIT {most}
))
"""


async def remove(conn: Connection, table: Table, applied_until: datetime) -> int:
    """Removes at most `AT_ONCE` rows; returns their number.

    `applied_until`: every event that was stored before this time has been applied.
    """
    assert table.ends is not None
    statement = sql.SQL(_REMOVE).format(
        table=sql.Identifier(table.physical), ends=sql.Identifier(table.ends), most=sql.Literal(AT_ONCE)
    )
    return (await conn.execute(statement, (applied_until,))).rowcount


async def remove_until(conn: Connection, table: Table, moment: datetime) -> None:
    """Removes all rows that have ended by then."""
    assert table.ends is not None
    await conn.execute(
        sql.SQL("DELETE FROM {} WHERE {} <= %s").format(sql.Identifier(table.physical), sql.Identifier(table.ends)),
        (moment,),
    )
