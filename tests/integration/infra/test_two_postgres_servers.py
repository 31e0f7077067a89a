"""The two PostgreSQL servers of the compose file, in whichever order they start: there is never a second primary."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tests.integration.faults.own_namespaces import in_own_namespaces
from tests.rehearsal.compose_file import read
from tests.rehearsal.deployment import Deployment

ONE, OTHER = "postgres-1", "postgres-2"
WITHIN = 120.0
WAITING = b"may have been promoted"
UNKNOWN_COPY = b"does not know yet that this server is a copy"
EMPTY = b"the volume is empty"
NOTED = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'copied'"


class TwoServers:
    def __init__(self, folder: Path) -> None:
        self.deployment = Deployment(folder, without=[name for name in read().services if name not in (ONE, OTHER)])

    async def role(self, name: str) -> str:
        """`primary`, `standby`, or nothing if it does not answer."""
        statement = "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END"
        code, output = await self.deployment.psql(name, statement)
        return output.strip() if code == 0 else ""

    async def start(self, *names: str) -> None:
        for name in names:
            await self.deployment.cluster.hosts[name].start()

    async def kill(self, *names: str) -> None:
        for name in names:
            await self.deployment.cluster.hosts[name].kill()

    async def until(self, name: str, role: str) -> None:
        """Waits until the server has this role, while the two are never both the primary."""
        async with asyncio.timeout(WITHIN):
            while await self.role(name) != role:
                assert [await self.role(other) for other in (ONE, OTHER)] != ["primary", "primary"]

    async def until_waiting(self, name: str, why: bytes = WAITING) -> None:
        """Starts the server, and waits until its log says once more that it waits for the other one."""
        log = self.deployment.cluster.hosts[name].log_file
        before = log.read_bytes().count(why) if log.exists() else 0
        await self.start(name)
        async with asyncio.timeout(WITHIN):
            while log.read_bytes().count(why) == before:
                await asyncio.sleep(0.1)

    def give_word(self, name: str, word: str) -> Path:
        """What an operator does with `docker compose exec`."""
        host = self.deployment.cluster.hosts[name]
        file = Path(f"/proc/{host.pid}/root/tmp") / word
        file.touch()
        os.chown(file, host.program.user, host.program.group)
        return file

    def volume(self, name: str) -> Path:
        return self.deployment.folder / "volumes" / name

    async def fail_over(self) -> None:
        """The first server is the primary until it dies; then the other one is, with a change of its own."""
        await self.both()
        await self.kill(ONE)
        await self.deployment.promote(OTHER)
        await self.change(OTHER, "CREATE TABLE after_the_promotion ()")

    async def both(self) -> None:
        await self.start(ONE, OTHER)
        await self.until(ONE, "primary")
        await self.deployment.until_standby(OTHER)

    async def change(self, name: str, statement: str) -> None:
        code, output = await self.deployment.psql(name, statement)
        assert code == 0, output

    async def assert_followed(self) -> None:
        """The server that was promoted is the primary, and the old one has its changes."""
        await self.until(OTHER, "primary")
        await self.until(ONE, "standby")
        await self.deployment.until_standby(ONE)
        async with asyncio.timeout(WITHIN):
            while (await self.deployment.psql(ONE, "SELECT count(*) FROM after_the_promotion"))[0] != 0:
                await asyncio.sleep(0.1)


def on_two_servers(act: Callable[[TwoServers], Awaitable[None]], folder: Path) -> None:
    async def run() -> None:
        servers = TwoServers(folder)
        cluster = servers.deployment.cluster
        try:
            await asyncio.to_thread(servers.deployment.make_secrets)
            await cluster.open()
            await act(servers)
        finally:
            await cluster.close()

    folder.chmod(0o755)
    in_own_namespaces(run)


def test_after_a_fail_over_and_a_power_failure_the_old_primary_waits_for_the_new_one(tmp_path: Path) -> None:
    async def act(servers: TwoServers) -> None:
        await servers.fail_over()
        await servers.kill(OTHER)
        await servers.until_waiting(ONE)
        assert await servers.role(ONE) == ""
        await servers.start(OTHER)
        await servers.assert_followed()

    on_two_servers(act, tmp_path)


def test_after_a_fail_over_and_a_power_failure_the_new_primary_needs_nobody(tmp_path: Path) -> None:
    async def act(servers: TwoServers) -> None:
        await servers.fail_over()
        await servers.kill(OTHER)
        await servers.start(OTHER)
        await servers.until(OTHER, "primary")
        await servers.start(ONE)
        await servers.assert_followed()
        # And once more, at the same time, the other way round: now the first one is the standby.
        await servers.kill(ONE, OTHER)
        await servers.start(ONE, OTHER)
        await servers.assert_followed()

    on_two_servers(act, tmp_path)


def test_the_old_primary_follows_before_the_new_one_has_made_a_checkpoint(tmp_path: Path) -> None:
    async def act(servers: TwoServers) -> None:
        await servers.both()
        # So much that the new primary needs minutes to write it, since it does so at its leisure.
        await servers.change(ONE, "CREATE TABLE filler AS SELECT generate_series(1, 300000)")
        await servers.deployment.until_standby(OTHER)
        await servers.kill(ONE)
        await servers.deployment.promote(OTHER)
        await servers.change(OTHER, "CREATE TABLE after_the_promotion ()")
        await servers.start(ONE)
        await servers.assert_followed()

    on_two_servers(act, tmp_path)


def test_a_primary_waits_for_its_standby_or_for_the_word_of_an_operator(tmp_path: Path) -> None:
    async def act(servers: TwoServers) -> None:
        # There is no copy yet: nobody else can be the primary.
        await servers.start(ONE)
        await servers.until(ONE, "primary")
        await servers.kill(ONE)
        await servers.both()
        # A copy that only waits to be one again, after a power failure.
        await servers.kill(ONE, OTHER)
        await servers.start(OTHER)
        await servers.until(OTHER, "standby")
        await servers.start(ONE)
        await servers.until(ONE, "primary")
        await servers.deployment.until_standby(OTHER)
        await servers.kill(ONE, OTHER)
        await servers.until_waiting(ONE)
        # As it stops, so that nothing hangs that an operator wants to stop.
        assert await servers.deployment.cluster.hosts[ONE].stop() == 0
        await servers.until_waiting(ONE)
        word = servers.give_word(ONE, "start-as-primary")
        await servers.until(ONE, "primary")
        assert not word.exists()

    on_two_servers(act, tmp_path)


def test_a_standby_of_which_the_primary_does_not_know_waits_until_it_does(tmp_path: Path) -> None:
    async def act(servers: TwoServers) -> None:
        await servers.both()
        # As with servers of a release that did not know of their copies.
        await servers.change(ONE, "SELECT pg_drop_replication_slot('copied')")
        await servers.kill(ONE, OTHER)
        (servers.volume(OTHER) / "cluster.noted").unlink()
        await servers.until_waiting(OTHER, UNKNOWN_COPY)
        assert await servers.role(OTHER) == ""
        await servers.start(ONE)
        await servers.until(ONE, "primary")
        await servers.deployment.until_standby(OTHER)
        assert (await servers.deployment.psql(ONE, NOTED))[1].strip() == "1"
        # Known to the primary, it starts without it from now on, and can be promoted.
        await servers.kill(ONE, OTHER)
        await servers.start(OTHER)
        await servers.until(OTHER, "standby")
        await servers.deployment.promote(OTHER)
        await servers.change(OTHER, "CREATE TABLE after_the_promotion ()")
        await servers.start(ONE)
        await servers.assert_followed()

    on_two_servers(act, tmp_path)


def test_a_standby_whose_primary_never_runs_again_starts_by_the_word_of_an_operator(tmp_path: Path) -> None:
    async def act(servers: TwoServers) -> None:
        await servers.both()
        await servers.kill(ONE, OTHER)
        (servers.volume(OTHER) / "cluster.noted").unlink()
        await servers.until_waiting(OTHER, UNKNOWN_COPY)
        word = servers.give_word(OTHER, "start-as-standby")
        await servers.until(OTHER, "standby")
        assert not word.exists()

    on_two_servers(act, tmp_path)


def test_a_server_that_has_lost_its_volume_makes_no_new_database(tmp_path: Path) -> None:
    async def act(servers: TwoServers) -> None:
        await servers.fail_over()
        await servers.kill(OTHER)
        shutil.rmtree(servers.volume(ONE) / "cluster")
        host = servers.deployment.cluster.hosts[ONE]
        first = host.program
        # After the first start of all.
        host.program = msgspec.structs.replace(first, environment={**first.environment, "FIRST": "no"})
        await servers.until_waiting(ONE, EMPTY)
        assert await servers.role(ONE) == ""
        await servers.start(OTHER)
        await servers.assert_followed()
        # Even if the first start is still allowed: a standby has what the lost volume had.
        await servers.kill(ONE, OTHER)
        await servers.start(ONE)
        await servers.until(ONE, "standby")
        shutil.rmtree(servers.volume(OTHER) / "cluster")
        other = servers.deployment.cluster.hosts[OTHER]
        other.program = msgspec.structs.replace(
            other.program, environment={**other.program.environment, "FIRST": "yes"}
        )
        await servers.until_waiting(OTHER, EMPTY)
        assert await servers.role(OTHER) == ""
        await servers.deployment.promote(ONE)
        await servers.until(OTHER, "standby")

    on_two_servers(act, tmp_path)
