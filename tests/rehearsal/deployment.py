"""A deployment of the compose file on hosts of this machine: its secrets, its cluster, and what an operator does."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tests.rehearsal import compose_file
from tests.rehearsal.cluster import PUBLIC, ROOT, Cluster, own_secrets
from tests.rehearsal.people import Site

MAIL_PORT, HTTPS_PORT = 1025, 8443
_READY_AGAIN = 120.0
_SECRETS_WITHIN = 120.0
_ATTEMPTS = 5


class Deployment:
    def __init__(self, folder: Path, *, tree: Path = ROOT, without: Collection[str] = ()) -> None:
        """`folder`: where everything is kept; `tree`: whose services run; `without`: hosts that do not run."""
        self.folder = folder
        # The folders of secrets, by party.
        self.secrets = folder / "deployment"
        compose = compose_file.read(
            variables={
                "DEPLOYMENT_DIR": str(self.secrets),
                "VESTNIK_PUBLIC_URL": f"https://{PUBLIC}:{HTTPS_PORT}",
                "NATS_MAX_FILE_STORE": "2GB",
                "POSTGRES_1_FIRST": "yes",
            }
        )
        self.cluster = Cluster(compose, folder, tree, without)

    @property
    def site(self) -> Site:
        """The address and the certificate authority that clients know."""
        return Site(PUBLIC, HTTPS_PORT, self.secrets / "secrets" / "tls-ca.pem")

    def make_secrets(self) -> None:
        """Makes all secrets with the operators' command line."""
        command = [sys.executable, "-m", "infra.cli.main", "deployment-secrets", str(self.secrets)]
        done = subprocess.run(
            [*command, "--public-host", f"{PUBLIC}:{HTTPS_PORT}"],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "VESTNIK_DATA_DIR": str(self.folder / "none")},
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECRETS_WITHIN,
        )
        assert done.returncode == 0, done.stderr
        own_secrets(self.secrets / "postgres")

    async def restart(self, names: Sequence[str]) -> None:
        """Stops the processes, which finish what they have begun, starts them again, and waits until they are ready.

        Raises:
            AssertionError: one ended with another exit code than 0, or is not ready in time.
        """
        codes = await asyncio.gather(*(self.cluster.hosts[name].stop() for name in names))
        failed = {name: code for name, code in zip(names, codes, strict=True) if code != 0}
        assert not failed, f"ended with other exit codes than 0: {failed}"
        for name in names:
            await self.cluster.hosts[name].start()
        await self.cluster.wait_ready(names)

    async def verify(self) -> None:
        """Compares the read models with the streams; again if a server did not answer in time, on a busy machine.

        Raises:
            AssertionError: a read model is not equal to its streams.
        """
        for _ in range(_ATTEMPTS):
            code, output = await self.cluster.tool("verify", "--json")
            if code == 0:
                return
            if output and not json.loads(output)["failed"]:
                break
        raise AssertionError(f"vestnik verify ended with {code}: {output}")

    async def primary(self) -> str:
        """The PostgreSQL server that accepts writes, found among those that run."""
        for name in self.cluster.names("postgres"):
            if self.cluster.hosts[name].is_running:
                code, output = await self.psql(name, "SELECT NOT pg_is_in_recovery()")
                if (code, output.strip()) == (0, "t"):
                    return name
        raise AssertionError("no PostgreSQL server accepts writes")

    async def promote(self, name: str) -> None:
        """Makes a standby the primary."""
        code, output = await self.psql(name, "SELECT pg_promote(true, 60)")
        assert (code, output.strip()) == (0, "t"), output

    async def until_standby(self, name: str) -> None:
        """Waits until the server is a standby that has applied what the primary had when this began.

        Raises:
            AssertionError: it is none in time.
        """
        try:
            async with asyncio.timeout(_READY_AGAIN):
                primary = await self.primary()
                _, end = await self.psql(primary, "SELECT pg_current_wal_lsn()")
                # A standby with changes of its own may be further, and its receiver comes and goes: the primary knows.
                statement = (
                    f"SELECT EXISTS (SELECT FROM pg_stat_replication"
                    f" WHERE state = 'streaming' AND replay_lsn >= '{end.strip()}')"
                )
                while (await self.psql(primary, statement))[1].strip() != "t":
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(f"{name} is no standby within {_READY_AGAIN:.0f} s") from None

    async def psql(self, name: str, statement: str) -> tuple[int, str]:
        """Runs a statement on the server as its administrator; returns exit code and output."""
        password = (self.secrets / "secrets" / "postgres.password").read_text()
        return await self.cluster.hosts[name].run(
            *("psql", "--no-psqlrc", "--no-align", "--tuples-only", "--command", statement),
            environment={
                "PGHOST": name,
                "PGUSER": "postgres",
                "PGDATABASE": "postgres",
                "PGPASSWORD": password,
                "PGCONNECT_TIMEOUT": "5",
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": "/run/vestnik/secrets/tls-ca.pem",
            },
        )
