"""Sessions of the simulated PostgreSQL server: statements in order, transactions, time-outs, lost connections."""

import asyncio
import random
import re
from collections.abc import Sequence
from typing import Any

from psycopg import Error, OperationalError, errors
from psycopg.pq import TransactionStatus

from tests.simulation.postgres.build_statements import BuildStatements
from tests.simulation.postgres.database import Database
from tests.simulation.postgres.statements import Answer, Catalog, Statements, Transaction
from tests.simulation.virtual_loop import VirtualLoop

Statement = tuple[str, Sequence[Any]]
# Seconds that one statement takes, and until one end notices that the other is gone, at most.
_WORK, _NOTICED = 0.002, 3.0
_LOCK_TIMEOUT = re.compile(r"SET LOCAL lock_timeout = '(\d+)(ms|s)'")
_IDLE_TIMEOUT = re.compile(r"SET idle_session_timeout = (\d+)")


class PostgresServer:
    def __init__(self, loop: VirtualLoop, rng: random.Random, database: Database, catalog: Catalog) -> None:
        self.loop = loop
        self.rng = rng
        self.database = database
        self.statements = Statements(database, catalog)
        self.builds = BuildStatements(database)
        self.statements.known = (*self.builds.known, *self.statements.known)
        self.sessions: dict[Session, None] = {}
        self.running = True
        # Statements that are not simulated.
        self.failures: list[AssertionError] = []
        # Until this time nothing arrives at either end.
        self.silent_until = 0.0

    def open(self) -> "Session":
        if not self.running:
            raise OperationalError("connection refused")
        session = Session(self)
        self.sessions[session] = None
        return session

    def cut(self) -> None:
        """Cuts every connection; each end notices later, and the server does what it was asked until then."""
        for session in list(self.sessions):
            session.cut()

    def crash(self) -> None:
        """Stops immediately: every transaction that was not committed is rolled back."""
        self.running = False
        for session in list(self.sessions):
            session.cut()
            session.end()

    def start(self) -> None:
        self.running = True

    def silence(self, seconds: float) -> None:
        self.silent_until = max(self.silent_until, self.loop.now + seconds)

    async def latency(self) -> None:
        await asyncio.sleep(max(0.0, self.silent_until - self.loop.now) + self.rng.random() * 0.002)

    def noticed(self) -> float:
        return self.rng.random() * _NOTICED


class Session:
    """The server's side of one connection."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._transaction: Transaction | None = None
        self._failed = False
        self._idle_seconds: float | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ended = False
        # Set once the client has noticed that the connection is lost.
        self.lost: asyncio.Future[None] = server.loop.create_future()
        self._cut = False
        self._work: asyncio.Task[None] | None = None

    def cut(self) -> None:
        if not self._cut:
            self._cut = True
            self._server.loop.call_later(self._server.noticed(), self._notice)
            self._server.loop.call_later(self._server.noticed(), self.end)

    def _notice(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def end(self) -> None:
        """Ends the session: rolls back, and releases its locks."""
        if self._ended:
            return
        self._ended = True
        self._server.sessions.pop(self, None)
        if self._work is not None:
            self._work.cancel()
        if self._idle is not None:
            self._idle.cancel()
        self._transaction = None
        self._server.database.row_locks.release_all(self)
        self._server.database.session_locks.release_all(self)
        # A client that waits for an answer notices immediately or late.
        self.cut()

    @property
    def status(self) -> TransactionStatus:
        if self._transaction is None:
            return TransactionStatus.IDLE
        return TransactionStatus.INERROR if self._failed else TransactionStatus.INTRANS

    async def serve(self, statements: Sequence[Statement], answers: "asyncio.Future[list[Answer | Error]]") -> None:
        """Runs the statements in order up to the first error; the answers may never reach the client."""
        reached = not self._cut or self._server.rng.random() < 0.5
        await self._server.latency()
        if self._ended or not reached:
            return
        self._work = asyncio.create_task(self._run(statements, answers))

    def cancel(self) -> None:
        """Cancels the statement that runs, if the request arrives in time."""
        if self._work is not None and not self._work.done():
            self._work.cancel()

    async def _run(self, statements: Sequence[Statement], answers: "asyncio.Future[list[Answer | Error]]") -> None:
        results: list[Answer | Error] = []
        try:
            for statement in statements:
                await asyncio.sleep(self._server.rng.random() * _WORK)
                results.append(await self._execute(*statement))
        except Error as error:
            results.append(error)
        except AssertionError as failure:
            self._server.failures.append(failure)
            raise
        except asyncio.CancelledError:
            if self._ended:
                return
            results.append(errors.QueryCanceled("canceling statement due to user request"))
        if isinstance(results[-1], Error) and self._transaction is not None:
            self._failed = True
        self._watch_idleness()
        if not self._cut:
            self._server.loop.call_later(
                max(0.0, self._server.silent_until - self._server.loop.now) + self._server.rng.random() * 0.002,
                self._answer,
                answers,
                results,
            )

    def _answer(self, answers: "asyncio.Future[list[Answer | Error]]", results: list[Answer | Error]) -> None:
        if not self._cut and not answers.done():
            answers.set_result(results)

    async def _execute(self, text: str, values: Sequence[Any]) -> Answer:
        database, builds = self._server.database, self._server.builds
        if text == "BEGIN":
            self._transaction, self._failed = Transaction(), False
            return []
        if text in ("COMMIT", "ROLLBACK"):
            self._end_transaction(commits=text == "COMMIT")
            return []
        if text == "ROLLBACK TO" and self._transaction is not None:
            del self._transaction.effects[self._transaction.savepoints.pop() :]
            self._failed = False
            return []
        if self._failed and self._transaction is not None:
            raise errors.InFailedSqlTransaction("current transaction is aborted")
        if (timeout := _IDLE_TIMEOUT.match(text)) is not None:
            self._idle_seconds = int(timeout[1]) / 1_000
        if (timeout := _LOCK_TIMEOUT.match(text)) is not None and self._transaction is not None:
            self._transaction.lock_timeout = int(timeout[1]) * (0.001 if timeout[2] == "ms" else 1.0)
        if text in ("SAVEPOINT", "RELEASE") and self._transaction is not None:
            savepoints = self._transaction.savepoints
            savepoints.append(len(self._transaction.effects)) if text == "SAVEPOINT" else savepoints.pop()
            return []
        if not text or text.startswith("SET "):
            return []
        if text.startswith("SELECT pg_try_advisory_lock"):
            return [(database.session_locks.try_acquire(values[0], self),)]
        if text.startswith("SELECT pg_advisory_unlock_all"):
            database.session_locks.release_all(self)
            return []
        # Without BEGIN, a statement is a transaction of its own.
        transaction = self._transaction or Transaction()
        if text.startswith("SELECT projection, version, build, state") and text.endswith("FOR UPDATE"):
            answer = await self._server.statements.hold(self, values, transaction)
        elif text.startswith("WITH held AS"):
            answer = await self._server.statements.move(self, values, transaction)
        elif text.startswith("SELECT pg_advisory_xact_lock"):
            await builds.acquire(text, self, transaction)
            answer = []
        elif text.startswith("SELECT 1 FROM projection_builds"):
            answer = await builds.lock(self, values, transaction)
        elif text.startswith("UPDATE projection_builds SET state"):
            answer = await builds.set_state(self, dict(values), transaction)
        elif builds.show(text, transaction):
            answer = []
        else:
            answer = self._server.statements.run(text, values, transaction)
        if self._transaction is None:
            self._transaction = transaction
            self._end_transaction(commits=True)
        return answer

    def _end_transaction(self, *, commits: bool) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None and commits and not self._failed:
            for effect in transaction.effects:
                effect()
        self._failed = False
        self._server.database.row_locks.release_all(self)

    def _watch_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._idle_seconds is not None and not self._ended:
            self._idle = self._server.loop.call_later(self._idle_seconds, self.end)
