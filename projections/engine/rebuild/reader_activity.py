"""Whether there are readers that a build would have to make room for.

A build takes a core for itself and half of another one for PostgreSQL. On a machine with no more than these a reader
waits for a processor at each of the steps that a read is made of, and however low the rank of what runs there, the
system interrupts it after some milliseconds only. What helps is a core that nobody takes.
"""

from projections.engine.storage.builds import Connection

# Only what this login may see, which is that of the service whose read model it is. The engine's own connections are
# no readers.
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
    """Whether anybody else has asked the database for something just now."""
    cursor = await conn.execute(_READS)
    return await cursor.fetchone() == (True,)


async def disable_parallel_index_builds(conn: Connection) -> None:
    """From now on the connection's own process makes its indexes, and no other takes another core for it."""
    await conn.execute(_NO_HELP)
