"""Database readiness probe: one query per second over one connection, shared by all who check it."""

import asyncio
import logging
import time
from collections.abc import Callable

from psycopg import AsyncConnection
from psycopg import Error as DatabaseError

from contracts.errors import VestnikError, first_line
from infra import url_files

log = logging.getLogger(__name__)
_EVERY_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
# For each host of the URL. Connecting may take longer than an answer, on a busy machine or with TLS.
_CONNECT_SECONDS = 5
_CHECK_SECONDS = 0.2
# Before an answer is as old as this, nothing is concluded from its age.
_USUAL_SECONDS = 1.5
# A check that is late by more than this means that this process was not scheduled.
_STALL_SECONDS = 0.3


def _ignore(_: bool) -> None:
    return None


def _reason(error: Exception) -> str:
    return first_line(error).removeprefix("The database does not answer: ")


class DatabaseWatch:
    """`answers` is true until the database was silent for `silent_after` seconds, not counting this process's stalls.

    A slow second or a server restart takes no replica out of service. A database that was dropped or stopped does.
    """

    def __init__(
        self,
        database_url: url_files.DatabaseUrl,
        name: str,
        *,
        silent_after: float = 3.0,
        on_change: Callable[[bool], None] = _ignore,
    ) -> None:
        """`on_change`: called when the database stops answering, and when it answers again."""
        self._database_url = database_url
        self._name = name
        self._silent_after = silent_after
        self._on_change = on_change
        # At the start it is not known yet; what needs the database waits for it.
        self._answered_at = time.monotonic()
        self._answers = True

    def answers(self) -> bool:
        return self._answers

    async def run(self) -> None:
        """Probes until cancelled; reconnects whenever the connection is lost."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_answers())
            tasks.create_task(self._probe_forever())

    async def _watch_answers(self) -> None:
        while True:
            begun = time.monotonic()
            pause = max(_CHECK_SECONDS, self._answered_at + _USUAL_SECONDS - begun)
            await asyncio.sleep(pause)
            now = time.monotonic()
            late = now - begun - pause
            if late > _STALL_SECONDS:
                # An answer may have arrived and not been read yet.
                self._answered_at += late
            self._settle(now - self._answered_at < self._silent_after)

    def _settle(self, answers: bool) -> None:
        if answers != self._answers:
            self._answers = answers
            self._on_change(answers)

    async def _probe_forever(self) -> None:
        while True:
            try:
                await self._probe()
            except (DatabaseError, OSError, TimeoutError, VestnikError) as error:
                log.warning("the database does not answer: %s", _reason(error))
            await asyncio.sleep(_EVERY_SECONDS)

    async def _probe(self) -> None:
        connection = await AsyncConnection.connect(
            await url_files.current(self._database_url),
            autocommit=True,
            application_name=f"{self._name} readiness",
            connect_timeout=_CONNECT_SECONDS,
        )
        try:
            while True:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await connection.execute("SELECT 1")
                self._answered_at = time.monotonic()
                self._settle(True)
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            await connection.close()
