"""A simulated `psycopg.AsyncConnection`: the part of its interface that the projection engine uses.

libpq opens its own sockets in C, so psycopg itself cannot run over a simulated network; and behind a simulated wire
protocol the same simulated database would be needed. So the simulation starts at this class. As psycopg does, a
cancelled call sends a cancel request, and waits for the end of its statement, which may have taken effect.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, Self

from psycopg import Error, OperationalError, sql
from psycopg.pq import ExecStatus, TransactionStatus

from tests.simulation.postgres.server import PostgresServer, Session, Statement
from tests.simulation.postgres.statements import Answer

# Seconds that a cancelled call waits for the end of its statement.
_CANCELLED_WITHIN = 5.0
_COLUMNS = ("projection", "version", "build", "state", "identity")


class Connection:
    def __init__(self, server: PostgresServer, session: Session) -> None:
        self._server = server
        self._session = session
        self._closed = False
        self._status = TransactionStatus.IDLE
        # The statements of a pipeline that were not sent yet; None: there is no pipeline.
        self._queued: list[tuple[Statement, Cursor]] | None = None
        # The first error of a pipeline, which ends it.
        self._refusal: Error | None = None

    @property
    def info(self) -> SimpleNamespace:
        is_lost = self._closed or self._session.lost.done()
        return SimpleNamespace(transaction_status=TransactionStatus.UNKNOWN if is_lost else self._status)

    async def execute(self, query: object, values: Sequence[Any] = (), *, prepare: bool | None = None) -> "Cursor":
        cursor = Cursor(self)
        await cursor.execute(query, values)
        return cursor

    @asynccontextmanager
    async def cursor(self, row_factory: Callable[[Any], Callable[..., Any]] | None = None) -> AsyncIterator["Cursor"]:
        yield Cursor(self, row_factory)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A transaction, or a savepoint within one."""
        is_outer = self._status is TransactionStatus.IDLE
        begin, undo, end = ("BEGIN", "ROLLBACK", "COMMIT") if is_outer else ("SAVEPOINT", "ROLLBACK TO", "RELEASE")
        await self.execute(begin)
        try:
            yield
        except BaseException:
            with suppress(Error):  # psycopg reports the first error
                await self.execute(undo)
            raise
        await self.execute(end)

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator["Connection"]:
        self._queued, self._refusal = [], None
        try:
            yield self
        except BaseException:
            await self._leave_pipeline(quietly=True)
            raise
        await self._leave_pipeline(quietly=False)

    async def sync(self) -> None:
        """Sends the statements of the pipeline; an error is raised by its cursor, or at the end of the pipeline."""
        queued, self._queued = self._queued or [], []
        results = await self._request([statement for statement, _ in queued])
        for (_, cursor), result in zip(queued, results, strict=False):
            cursor.result = result
            if isinstance(result, Error):
                self._refusal = result
        for _, cursor in queued[len(results) :]:
            cursor.result = OperationalError("pipeline aborted")

    async def rollback(self) -> None:
        if self._status is not TransactionStatus.IDLE:
            await self.execute("ROLLBACK")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            # The server notices immediately, unless the network is cut.
            self._server.loop.call_later(self._server.rng.random() * 0.01, self._session.end)

    async def submit(self, statement: Statement, cursor: "Cursor") -> None:
        if self._queued is not None:
            self._queued.append((statement, cursor))
            await asyncio.sleep(0)
            return
        cursor.result = (await self._request([statement]))[-1]
        cursor.check()

    async def _leave_pipeline(self, *, quietly: bool) -> None:
        try:
            if self._queued:
                await self.sync()
            if self._refusal is not None:
                raise self._refusal
        except Error:
            if not quietly:
                raise
        finally:
            self._queued = None

    async def _request(self, statements: Sequence[Statement]) -> "list[Answer | Error]":
        if self._closed or self._session.lost.done():
            raise OperationalError("the connection is lost")
        answers: asyncio.Future[list[Answer | Error]] = self._server.loop.create_future()
        self._serving = asyncio.create_task(self._session.serve(statements, answers))
        waiting: list[asyncio.Future[Any]] = [answers, self._session.lost]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._session.cancel()
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=_CANCELLED_WITHIN)
            finally:
                if not answers.done():
                    await self.close()
            self._status = self._session.status
            raise
        if not answers.done():
            raise OperationalError("server closed the connection unexpectedly")
        self._status = self._session.status
        return answers.result()


class Cursor:
    def __init__(self, connection: Connection, row_factory: Callable[[Any], Callable[..., Any]] | None = None) -> None:
        self._connection = connection
        self._row_factory = row_factory
        self._encoding = "utf-8"
        self.result: Answer | Error = []

    @property
    def pgresult(self) -> SimpleNamespace:
        return SimpleNamespace(
            nfields=len(_COLUMNS), status=ExecStatus.TUPLES_OK, fname=lambda index: _COLUMNS[index].encode()
        )

    async def execute(self, query: object, values: Sequence[Any] = ()) -> Self:
        if isinstance(query, sql.Composable):
            query = query.as_string(None)
        text = query.decode() if isinstance(query, bytes) else str(query)
        await self._connection.submit((" ".join(text.split()), values), self)
        return self

    async def fetchall(self) -> list[Any]:
        rows = self.check()
        make = self._row_factory and self._row_factory(self)
        return [make(row) for row in rows] if make else list(rows)

    async def fetchone(self) -> Any:  # noqa: ANN401 - of any row factory
        rows = await self.fetchall()
        return rows[0] if rows else None

    def check(self) -> Answer:
        if isinstance(self.result, Error):
            raise self.result
        return self.result


class Driver:
    """In place of the class `AsyncConnection`, which opens connections."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def connect(self, *_: object, connect_timeout: float, **__: object) -> Connection:
        try:
            async with asyncio.timeout(connect_timeout):
                await self._server.latency()
        except TimeoutError:
            raise OperationalError("connection timeout expired") from None
        return Connection(self._server, self._server.open())
