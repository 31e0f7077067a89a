"""Connections of operators' commands: with up-to-date engine tables, and one error for a database that fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import Error as DatabaseError

from infra import url_files
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect, database_unavailable
from projections.engine.storage.schema import ensure_schema


@asynccontextmanager
async def operator_connection(database_url: url_files.DatabaseUrl, name: str) -> AsyncIterator[Connection]:
    """A connection for one command, which holds its locks: they are released with it. `name`: as PostgreSQL shows it.

    Raises:
        Unavailable: the database does not answer, or fails during the command.
    """
    conn = await connect(database_url, name)
    try:
        await ensure_schema(conn)
        yield conn
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await conn.close()
