"""Connections to NATS and PostgreSQL: bounded, named, reconnecting by themselves."""

import asyncio
import contextlib
import logging
import os
import socket
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client as NATS
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool

from contracts.errors import Unavailable, error_text
from infra import url_files
from infra.security.nats_permissions import inbox_of
from infra.security.secrets import NATS_PARTIES
from infra.settings import BadSetting, Settings
from streams.jetstream.client import Client
from streams.jetstream.tls import BadTlsFile, Tls, tls_failure

log = logging.getLogger(__name__)
_Connection = AsyncConnection[tuple[object, ...]]
Pool = AsyncConnectionPool[_Connection]

_SILENT = "the database does not answer"
# Seconds after which one unused connection to the database is closed: its server process has 2 to 4 MiB.
_IDLE_SECONDS = 60.0
# Outgoing bytes buffered while the connection is down.
_PENDING_BYTES = 8 * 1024 * 1024
# Seconds between two pings of a NATS server. The third one in a row without an answer ends the connection: after six
# seconds at most where there are other servers, and later where reconnecting could only lead to the same one.
_PING_SECONDS, _PING_SECONDS_ALONE = 2, 5

_NATS_SCHEMES = ("nats", "tls")


class DatabaseSilent(OperationalError):
    """The database has not answered for seconds."""


class WatchedPool(Pool):
    """A connection pool that fails requests immediately while the database is known to be unresponsive."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - the library's own
        super().__init__(*args, **options)
        self._silent = False
        self._lent: set[_Connection] = set()
        self._asking: set[asyncio.Timeout] = set()
        self._draining: asyncio.Task[None] | None = None

    async def getconn(self, timeout: float | None = None) -> _Connection:
        """
        Raises:
            DatabaseSilent: the database is known to be unresponsive.
            PoolTimeout: no connection came in time.
        """
        if self._silent:
            raise DatabaseSilent(_SILENT)
        try:
            async with asyncio.timeout(None) as asking:
                self._asking.add(asking)
                try:
                    connection = await super().getconn(timeout)
                finally:
                    self._asking.discard(asking)
        except TimeoutError as error:
            raise DatabaseSilent(_SILENT) from error
        self._lent.add(connection)
        return connection

    async def putconn(self, conn: _Connection) -> None:
        self._lent.discard(conn)
        await super().putconn(conn)

    def set_answering(self, answers: bool) -> None:
        """Records whether the database answers. If it does not, pending requests and queries fail immediately.

        Once it answers again, all connections are replaced: after a fail-over those from before lead to a server that
        is gone, and a query on one of them would wait for it.
        """
        was_silent, self._silent = self._silent, not answers
        if answers:
            if was_silent:
                self._draining = asyncio.get_running_loop().create_task(self.drain(), name="replacement of connections")
            return
        now = asyncio.get_running_loop().time()
        for asking in self._asking:
            asking.reschedule(now)
        for connection in self._lent:
            _cut(connection)


async def connect_nats(settings: Settings, name: str, *, patience: float = 30.0) -> NATS:
    """Connects to NATS and reconnects after every loss for as long as the process lives.

    Raises:
        BadSetting: the URL names no server or is not valid, or a certificate or key file for NATS is missing or cannot
            be used.
        UnreadableUrl: the file that holds the URL cannot be read.
        Unavailable: no server answered and accepted the login within `patience` seconds.
    """
    tls = Tls(settings.nats_ca, settings.nats_certificate, settings.nats_key)
    try:
        # A mistake in the settings is reported at once; at a reconnect the client goes on trying. Without files there
        # is none, and the system's authorities take a megabyte and 10 ms to load.
        if tls != Tls():
            tls.context()
    except BadTlsFile as error:
        raise BadSetting(f"NATS with TLS: {error}") from error
    servers = nats_servers(settings.nats_url)
    failure, has_connected = "does not answer", False

    async def failed(error: Exception) -> None:
        nonlocal failure
        if reason := tls_failure(error):
            failure = f"cannot be reached with TLS: {reason}"
        elif "authorization" in str(error).lower():
            failure = "refuses the login"
        # Before that the caller reports the failure.
        if has_connected:
            log.warning("nats: %s", error_text(error))

    async def disconnected() -> None:
        if not client.is_closed:
            log.warning("nats: disconnected")

    async def reconnected() -> None:
        log.info("nats: connected again")

    is_in_file = url_files.path_of(settings.nats_url) is not None and bool(urlsplit(servers[0]).password)
    client = Client(tls)
    try:
        async with asyncio.timeout(patience):
            await client.connect(
                servers=servers,
                name=name,
                error_cb=failed,
                disconnected_cb=disconnected,
                reconnected_cb=reconnected,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds that it sleeps; a fraction is meant
                connect_timeout=5,
                ping_interval=_PING_SECONDS_ALONE,
                max_outstanding_pings=2,
                pending_size=_PENDING_BYTES,
                inbox_prefix=inbox_of(_party(servers, name)).encode(),
                # From a file they are read again for each connection, also for one to a server that the cluster named.
                user=partial(_user, settings.nats_url) if is_in_file else None,
                password=partial(_password, settings.nats_url) if is_in_file else None,
            )
    except TimeoutError as error:
        # Left alone, the client would retry forever after a refused login.
        await client.close()
        raise Unavailable(f"NATS {failure}.") from error
    has_connected = True
    if len(client.servers) > 1:  # with those that the cluster named
        client.options["ping_interval"] = _PING_SECONDS
    return client


async def open_pool(database_url: url_files.DatabaseUrl, name: str, *, max_size: int = 8) -> WatchedPool:
    """Opens a pool of autocommitting connections; a broken one is replaced before it is handed out.

    Does not wait for the database: what needs a connection does, for 5 seconds at most.

    Raises:
        UnreadableUrl: the file that holds the URL cannot be read.
    """
    if isinstance(database_url, str):
        url_files.read(database_url)
    pool = WatchedPool(
        # Called for each new connection.
        partial(url_files.current, database_url),
        min_size=1,
        max_size=max_size,
        max_waiting=1_000,
        max_idle=_IDLE_SECONDS,
        timeout=5.0,
        # Short, because a pool that has lost all its connections would otherwise pause for half a minute after the
        # database is back. The next request for a connection starts another attempt.
        reconnect_timeout=5.0,
        kwargs={"autocommit": True, "application_name": name, "connect_timeout": 5, "prepare_threshold": 2},
        check=_check,
        open=False,
        name=name,
    )
    await pool.open()
    return pool


async def _check(connection: AsyncConnection[tuple[object, ...]]) -> None:
    """Detects a connection that the server has closed. Runs no query: that would be half the time of most reads.

    Raises:
        OperationalError: the server has closed the connection.
    """
    # Twice: a farewell message may arrive before the end of the stream.
    connection.pgconn.consume_input()
    connection.pgconn.consume_input()


def _cut(connection: _Connection) -> None:
    """Shuts down the connection's socket, so that pending reads fail now. Cancelling would need the server."""
    with contextlib.suppress(OSError, OperationalError), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


def _servers(nats_url: str) -> list[str]:
    return [url.strip() for url in url_files.read(nats_url).split(",") if url.strip()]


def nats_servers(nats_url: str) -> list[str]:
    """The URLs of the servers that the setting names.

    Raises:
        BadSetting: a URL is not valid, or there is none, so that the client would try for ever.
        UnreadableUrl: the file that holds the setting cannot be read.
    """
    servers = _servers(nats_url)
    if not servers:
        raise BadSetting("VESTNIK_NATS_URL names no server")
    for url in servers:
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            valid = parts.scheme in _NATS_SCHEMES and parts.hostname and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            # The value is not shown: it may contain a password.
            raise BadSetting(
                "VESTNIK_NATS_URL must be nats://host:port or tls://host:port, comma-separated; special characters of "
                "a password are percent-encoded"
            )
    return servers


def _user(nats_url: str) -> str:
    return unquote(urlsplit(_servers(nats_url)[0]).username or "")


def _password(nats_url: str) -> str:
    return unquote(urlsplit(_servers(nats_url)[0]).password or "")


def _party(servers: list[str], name: str) -> str:
    """The party whose inbox prefix we use: the URL's NATS user if it is a known party, else derived from `name`."""
    user = urlsplit(servers[0]).username if servers else None
    return user if user in NATS_PARTIES else name.partition("-")[0]
