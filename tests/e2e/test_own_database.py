"""The system on an external PostgreSQL, prepared with the output of `vestnik postgres-logins`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from click.testing import CliRunner
from psycopg import sql

from contracts.services import GATEWAY, OPERATOR
from infra.cli.system.postgres_logins import postgres_logins
from infra.embedded.postgres_server import PostgresServer
from infra.security.postgres_roles import role_of, url_of
from infra.security.secrets import DATABASE_PARTIES, Secrets
from tests.e2e.conftest import client
from tests.e2e.people import Api
from tests.fix_system import System
from tests.processes import Process

NAME = "shop floor"
CONNECTED = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


@pytest_asyncio.fixture
async def prepared(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, Secrets]]:
    """A database whose name has to be quoted, as a superuser has prepared it; the superuser's URL."""
    monkeypatch.setenv("VESTNIK_SECRETS_DIR", str(tmp_path / "secrets"))
    # The command runs an event loop of its own.
    printed = await asyncio.to_thread(CliRunner().invoke, postgres_logins, ["--database", NAME])
    assert printed.exit_code == 0, printed.output
    secrets = Secrets.load(tmp_path / "secrets")
    assert not any(password in printed.output for password in secrets.database_passwords().values())
    url = postgres_server.url.rsplit("/", 1)[0] + "/shop%20floor"
    async with await psycopg.AsyncConnection.connect(postgres_server.url, autocommit=True) as admin:
        await admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(NAME)))
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as there:
                # All of it at once, as `psql --single-transaction -f` does.
                await there.execute(printed.stdout.encode())
            yield url, secrets
        finally:
            await admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(NAME)))


@pytest.fixture
def prepared_system(prepared: tuple[str, Secrets], tmp_path: Path) -> Iterator[System]:
    url, secrets = prepared
    operators = url_of(url, OPERATOR, secrets.database_password(OPERATOR))
    settings = {"VESTNIK_DATABASE_URL": operators, "VESTNIK_SECRETS_DIR": str(tmp_path / "secrets")}
    system = System(tmp_path / "data", settings=settings)
    try:
        system.start()
        yield system
    finally:
        system.stop()


async def test_every_service_logs_in_as_itself_and_knows_no_other_login(
    prepared_system: System, prepared: tuple[str, Secrets]
) -> None:
    url, secrets = prepared
    async with client(prepared_system) as http:
        api = Api(prepared_system, http)
        anna, boris = await api.friends()
        await anna.sends(boris, "hello")
        assert [message["text"] for message in await anna.messages(boris)] == ["hello"]
    async with await psycopg.AsyncConnection.connect(url) as conn:
        roles = {str(user) for (user,) in await (await conn.execute(CONNECTED, (NAME,))).fetchall()}
    assert roles == {role_of(party) for party in DATABASE_PARTIES}
    # What a process was started with can be read as long as it runs.
    passwords = secrets.database_passwords().values()
    for service in (*DATABASE_PARTIES, GATEWAY):
        (process,) = prepared_system.serving(service)
        assert not any(password in environment(process) for password in passwords)
    for command in (
        ["verify"],
        ["rebuild", "--all"],
        ["rebuild", "--all", "--drop-old", "--reason", "a test"],
        ["status"],
    ):
        done = await asyncio.to_thread(prepared_system.vestnik, *command, within=240)
        assert done.returncode == 0, done.stdout + done.stderr


def environment(process: Process) -> str:
    return Path(f"/proc/{process.pid}/environ").read_text()
