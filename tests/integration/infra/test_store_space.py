"""A disk that others fill: events are refused at once and by name, read on, and accepted again when there is room."""

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.errors import DeadlineExceeded, OutOfSpace
from contracts.subjects import conversation
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from infra.embedded.store_space import StoreSpace
from infra.security.nats_permissions import inbox_of
from infra.security.secrets import NATS_PARTIES, TOPOLOGY
from streams.jetstream.api import JetStream
from streams.jetstream.client import Client
from streams.log import Log
from streams.topology import ensure_streams
from tests.integration.streams.conftest import append_to

WITHIN = 60.0
_DISK, _INODES = "100m", 4_000
_PIECE = bytes(4096)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK},nr_inodes={_INODES}", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Stored:
    """An event store on the small disk, as `vestnik up` runs it, and a service's connection to it."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.reports: list[str] = []
        self.server = NatsServer(
            disk / "nats", passwords=dict.fromkeys(NATS_PARTIES, "right"), on_line=lambda line: None
        )
        self.space = StoreSpace(self.server, disk, lambda text, level: self.reports.append(text))
        self.client = Client()

    async def start(self) -> None:
        await self.server.start()
        topology = await self._connected(Client(), TOPOLOGY)
        await ensure_streams(topology, replicas=1)
        await topology.close()
        await self._connected(self.client, "messaging")
        self.log = Log(self.client, patience=10.0)

    async def _connected(self, client: Client, party: str) -> Client:
        await client.connect(
            self.server.url_of(party),
            inbox_prefix=inbox_of(party).encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.05,  # type: ignore[arg-type]  # seconds that it sleeps; a fraction is meant
        )
        return client

    async def stop(self) -> None:
        await self.client.close()
        await self.server.stop()

    def fill(self, *, leaving: int) -> None:
        """Another program fills the disk up to so many bytes."""
        filler = os.open(self.disk / "filler", os.O_CREAT | os.O_WRONLY)
        try:
            while shutil.disk_usage(self.disk).free > leaving:
                os.write(filler, _PIECE)
        finally:
            os.close(filler)

    def clear(self) -> None:
        (self.disk / "filler").unlink()

    def take_inodes(self, *, leaving: int) -> None:
        """Another program makes so many empty files that so few inodes are left."""
        (self.disk / "files").mkdir()
        for number in itertools.count():
            if os.statvfs(self.disk).f_favail <= leaving:
                return
            (self.disk / "files" / str(number)).touch()

    def give_inodes_back(self) -> None:
        shutil.rmtree(self.disk / "files")

    async def until_refused(self) -> None:
        async with asyncio.timeout(WITHIN):
            while not await JetStream(self.client).is_full():
                await asyncio.sleep(0.02)

    async def until_accepted(self) -> str:
        """Appends until an event is stored; its aggregate."""
        async with asyncio.timeout(WITHIN):
            while True:
                name = new_id()
                try:
                    await self.log.append(append_to(name))
                except (OutOfSpace, DeadlineExceeded):
                    await asyncio.sleep(0.02)
                else:
                    return name


@pytest_asyncio.fixture
async def stored(disk: Path) -> AsyncIterator[Stored]:
    stored = Stored(disk)
    await stored.start()
    try:
        yield stored
    finally:
        await stored.stop()


async def test_a_nearly_full_disk_refuses_events_at_once_and_accepts_them_when_there_is_room(stored: Stored) -> None:
    name = new_id()
    await stored.log.append(append_to(name))
    stored.space.check()
    assert not await JetStream(stored.client).is_full()
    stored.fill(leaving=1024 * 1024)
    stored.space.check()
    await stored.until_refused()
    pid = stored.server.pid
    for append in (append_to(new_id()), append_to(name, version=2, expected=1)):
        with pytest.raises(OutOfSpace) as refused:
            await stored.log.append(append)
        assert refused.value.retry_after
    with pytest.raises(OutOfSpace):
        await stored.log.append_together([append_to(new_id()), append_to(new_id())])
    assert len(await stored.log.read(conversation(name))) == 1
    assert stored.server.pid == pid
    # A server that ends meanwhile is closed from its next start on.
    stored.server.kill()
    await stored.server.wait()
    await stored.server.start()
    assert await JetStream(stored.client).is_full()
    with pytest.raises(OutOfSpace):
        await stored.log.append(append_to(new_id()))
    assert len(await stored.log.read(conversation(name))) == 1
    stored.space.check()
    pid = stored.server.pid
    stored.clear()
    stored.space.check()
    later = await stored.until_accepted()
    assert len(await stored.log.read(conversation(later))) == 1
    assert stored.server.pid == pid
    [closed, opened] = stored.reports
    assert "out of space" in closed
    assert "writes are accepted" in opened


async def test_a_disk_without_inodes_refuses_events_at_once_and_accepts_them_when_there_are_some(
    stored: Stored,
) -> None:
    name = new_id()
    await stored.log.append(append_to(name))
    stored.space.check()
    stored.take_inodes(leaving=_INODES // 40)
    stored.space.check()
    await stored.until_refused()
    with pytest.raises(OutOfSpace):
        await stored.log.append(append_to(new_id()))
    assert len(await stored.log.read(conversation(name))) == 1
    stored.give_inodes_back()
    stored.space.check()
    later = await stored.until_accepted()
    assert len(await stored.log.read(conversation(later))) == 1
    [closed, opened] = stored.reports
    assert "inodes are free" in closed
    assert "writes are accepted" in opened


async def test_a_disk_that_was_filled_too_quickly_to_notice_costs_a_restart_and_no_event(stored: Stored) -> None:
    name = new_id()
    await stored.log.append(append_to(name))
    stored.fill(leaving=0)
    with pytest.raises(DeadlineExceeded):
        await Log(stored.client, patience=1.0).append(append_to(new_id(), text="x" * 3_000))
    stored.space.check()
    await stored.until_refused()
    with pytest.raises(OutOfSpace):
        await stored.log.append(append_to(new_id()))
    stored.clear()
    stored.space.check()
    # As the supervisor does.
    async with asyncio.timeout(WITHIN):
        await stored.server.wait()
    await stored.server.start()
    later = await stored.until_accepted()
    assert [len(await stored.log.read(conversation(conversation_id))) for conversation_id in (name, later)] == [1, 1]
    stored.space.check()
    assert not stored.server.is_closed
    assert [report.partition(":")[0] for report in stored.reports] == ["out of space", "there is space again"]
