"""Detects active readers, for which a build throttles itself.

A build uses one core itself and half of another one for PostgreSQL. On a machine with no more cores, a reader waits for
a processor at each step of a read, and the kernel preempts even a low-priority process only after some milliseconds.
Only a free core helps.
"""

from projections.engine.storage.builds import Connection

# Limited to the activity visible to this login, which is that of the read model's service. The engine's own connections
# do not count as readers.
_READS = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND query_start > clock_timestamp() - interval '300 ms'
      AND application_name !~ '^(projection|rebuild|switch|verify|shadow|as of|drop old|discards of) '
)
"""
_NO_HELP = "SET max_parallel_maintenance_workers = 0"


async def has_active_readers(conn: Connection) -> bool:
    """Whether another client has started a query in the last 300 ms."""
    cursor = await conn.execute(_READS)
    return await cursor.fetchone() == (True,)


async def disable_parallel_index_builds(conn: Connection) -> None:
    """Makes the connection create indexes without parallel workers, which would use more cores."""
    await conn.execute(_NO_HELP)
