"""Readiness probes: each is bounded in time, and no answer means not ready."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg

from contracts.errors import VestnikError
from infra import url_files
from infra.operator_errors import OperatorError
from infra.rpc.health import is_serving
from infra.rpc.tls import Tls
from infra.runtime.connections import connect_nats
from infra.settings import BadSetting, Settings

WITHIN = 2.0

# For servers that the settings name: they are running, or are being started.
GIVEN_WITHIN = 10.0
# Of them, for each host of a database URL, so that one that is gone leaves time for the next.
_HOST_SECONDS = 4

Probe = Callable[[], Awaitable[bool]]


class ServerSilent(OperatorError):
    """A server that the settings name does not answer."""


async def always() -> bool:
    """For programs whose `start` returns only when they are ready."""
    return True


def grpc_health(host: str, port: int, tls: Tls | None = None) -> Probe:
    """Ready when the server's health service says SERVING."""

    async def probe() -> bool:
        return await is_serving(host, port, timeout=WITHIN, tls=tls)

    return probe


def http_ok(host: str, port: int, path: str) -> Probe:
    """Ready when a GET of the path is answered with 200."""

    async def probe() -> bool:
        try:
            async with asyncio.timeout(WITHIN):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                    status_line = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return status_line.split(b" ")[1:2] == [b"200"]

    return probe


async def given_nats_answers(settings: Settings) -> None:
    """Checks that the NATS server of VESTNIK_NATS_URL answers.

    Raises:
        BadSetting: a certificate or key file for NATS is missing or cannot be used.
        ServerSilent: it does not answer, or refuses the login.
    """
    try:
        async with asyncio.timeout(GIVEN_WITHIN):
            connection = await connect_nats(settings, "operator-supervisor", patience=GIVEN_WITHIN / 2)
    except (OSError, TimeoutError, VestnikError) as error:
        raise ServerSilent(f"VESTNIK_NATS_URL: {error or 'NATS does not answer.'}") from None
    await connection.close()


async def given_database_answers(settings: Settings) -> None:
    """Checks that the PostgreSQL of VESTNIK_DATABASE_URL answers.

    Raises:
        BadSetting: the setting is not a database URL.
        ServerSilent: it does not answer, or refuses the login.
    """
    try:
        async with asyncio.timeout(GIVEN_WITHIN):
            connection = await psycopg.AsyncConnection.connect(
                url_files.read(settings.database_url), connect_timeout=_HOST_SECONDS
            )
    except psycopg.ProgrammingError:
        # The error's text would show the whole setting, including the password.
        raise BadSetting("VESTNIK_DATABASE_URL is not the address of a PostgreSQL database") from None
    except (psycopg.Error, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else "no answer"
        raise ServerSilent(f"the PostgreSQL of VESTNIK_DATABASE_URL does not answer: {reason}") from None
    await connection.close()
