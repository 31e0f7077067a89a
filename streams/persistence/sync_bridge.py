"""Bridge from synchronous code to the asyncio event store.

A `Caller` uses an existing loop and connection. A `Bridge` has its own: one loop in its own thread, one connection. It
may be dropped without being closed, as the library's users do: it closes itself when it is no longer referenced, or
when the interpreter exits. Therefore nothing that runs in the thread may refer to the bridge.
"""

import asyncio
import logging
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar

from eventsourcing.persistence import InterfaceError, OperationalError
from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError

from contracts.errors import Unavailable, error_text
from streams.jetstream.client import Client
from streams.jetstream.tls import Tls, tls_failure
from streams.persistence.error_translation import in_the_librarys_words

_LOG = logging.getLogger(__name__)
# Seconds that closing may take.
_CLOSING = 5.0

T = TypeVar("T")


class Caller:
    """Calls coroutines on a loop that runs in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: NATS, *, patience: float) -> None:
        """`patience`: seconds for which the event store retries an operation; a call waits three times as long."""
        self._limit = 3 * patience
        self._loop = loop
        self._stopped = False
        self.client = client

    def stop(self) -> None:
        """Refuses all further calls, so that a thread whose result is no longer wanted ends at its next call."""
        self._stopped = True

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and waits for its result, up to three times `patience`.

        Raises:
            InterfaceError: the connection was closed, or `stop` was called.
            PersistenceError: as `in_the_librarys_words`.
        """
        if self._stopped:
            work.close()
            raise InterfaceError("the calls were stopped")
        future = self.submit(work)
        try:
            with in_the_librarys_words():
                return future.result(self._limit)
        except CancelledError:
            raise InterfaceError("the connection was closed") from None
        except TimeoutError as error:
            raise OperationalError("the event store did not answer; events may have been stored") from error
        finally:
            future.cancel()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Starts a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)


class Bridge(Caller):
    def __init__(
        self, servers: str, *, name: str, patience: float, inbox_prefix: str = "_INBOX", tls: Tls | None = None
    ) -> None:
        """Connects.

        `servers`: comma-separated URLs.
        `patience`: seconds for which the event store retries an operation; the bridge waits three times as long.
        `inbox_prefix`: the prefix of reply subjects.

        Raises:
            OperationalError: no server accepted the connection.
        """
        super().__init__(asyncio.new_event_loop(), Client(tls), patience=patience)
        self._closing = Lock()
        self._closed = False
        thread = Thread(target=_run, args=(self._loop,), name=f"event store of {name}", daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _end, self._loop, thread, self.client)
        try:
            self.call(_connect(self.client, servers, name, patience, inbox_prefix))
        except BaseException:
            self.close()
            raise

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """As `Caller.submit`.

        Raises:
            InterfaceError: the bridge was closed.
        """
        with self._closing:
            if self._closed:
                work.close()
                raise InterfaceError("the connection was closed")
            return super().submit(work)

    def close(self) -> None:
        """Closes the connection and cancels all running work; idempotent."""
        with self._closing:
            self._closed = True
        self._end()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: Thread, client: NATS) -> None:
    ended = asyncio.run_coroutine_threadsafe(_wind_up(client), loop)
    ended.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
    # The last reference may have been dropped in the thread that is to end.
    if current_thread() is not thread:
        thread.join(2 * _CLOSING)


async def _wind_up(client: NATS) -> None:
    # A connection that is already lost, or does not close in time, is abandoned.
    with suppress(OSError, NatsError):
        async with asyncio.timeout(_CLOSING):
            await client.close()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def _connect(client: NATS, servers: str, name: str, patience: float, inbox_prefix: str) -> None:
    """Connects, and reconnects whenever the connection is lost."""

    failure: str | None = None

    async def failed(error: Exception) -> None:
        nonlocal failure
        failure = tls_failure(error) or failure
        _LOG.warning("nats: %s", error_text(error))

    try:
        async with asyncio.timeout(patience):
            await client.connect(
                servers=[url.strip() for url in servers.split(",") if url.strip()],
                name=name,
                error_cb=failed,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds that it sleeps; a fraction is meant
                connect_timeout=5,
                ping_interval=10,
                max_outstanding_pings=2,
                inbox_prefix=inbox_prefix.encode(),
            )
    except TimeoutError as error:
        reason = f" (TLS: {failure})" if failure else ""
        raise Unavailable(f"NATS accepted no connection within {patience:g} s{reason}.") from error
