"""Whether the database answers, asked once a second over one connection, however many want to know."""

import asyncio
import logging
import time

from psycopg import AsyncConnection
from psycopg import Error as DatabaseError

log = logging.getLogger(__name__)
_EVERY_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
# A connection may take longer than an answer, on a busy machine or with TLS, and is not begun again meanwhile.
_CONNECT_SECONDS = 10.0


class DatabaseWatch:
    """`answers` holds until the database has been silent for `silent_after` seconds.

    A slow second, or a restart of the server, takes no replica out. A database that was dropped does.
    """

    def __init__(self, database_url: str, name: str, *, silent_after: float = 5.0) -> None:
        self._database_url = database_url
        self._name = name
        self._silent_after = silent_after
        # The process has opened its pool just now.
        self._answered_at = time.monotonic()

    def answers(self) -> bool:
        return time.monotonic() - self._answered_at < self._silent_after

    async def run(self) -> None:
        """Asks until cancelled; connects again whenever the connection is lost."""
        while True:
            try:
                await self._ask()
            except (DatabaseError, OSError, TimeoutError) as error:
                log.warning("the database does not answer: %s", str(error).partition("\n")[0] or type(error).__name__)
            await asyncio.sleep(_EVERY_SECONDS)

    async def _ask(self) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await AsyncConnection.connect(
                self._database_url, autocommit=True, application_name=f"{self._name} readiness"
            )
        try:
            while True:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await connection.execute("SELECT 1")
                self._answered_at = time.monotonic()
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            await connection.close()
