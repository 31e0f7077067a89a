"""Batches of MESSAGING are gathered in memory: a killed server completes them, and one without power loses little.

The server is killed at moments spread over the writing of a batch, so that each run meets other moments.
"""

import asyncio
import os
import random
import shutil
from pathlib import Path
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client

from contracts.subjects import AUTH, MESSAGING
from infra.embedded import batch_ramdisk
from infra.embedded.nats_server import NatsServer

# A module's tests run one after the other: what a killed server leaves in memory takes room, of which some
# machines have little.
pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory here")

# Large enough that writing one takes some tens of milliseconds.
_EVENTS, _BYTES = 500, 40_000
_KILLS = 6


def _batches(folder: Path, stream: str) -> Path:
    return folder / "store" / "jetstream" / "$G" / "streams" / stream / "batches"


async def _connect(server: NatsServer) -> Client:
    return await nats.connect(server.url, allow_reconnect=False, connect_timeout=60)


async def _make(client: Client, name: str) -> None:
    await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"], allow_atomic=True)


async def _publish(client: Client, stream: str, *, events: int, size: int = 100, commit: bool = True) -> str:
    """Sends a batch of events, each on a subject of its own; the subject to which the server answers."""
    batch, inbox = uuid4().hex, client.new_inbox()
    for number in range(1, events + 1):
        headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
        if commit and number == events:
            headers["Nats-Batch-Commit"] = "1"
        await client.publish(f"{stream}.{number}", b"x" * size, reply=inbox, headers=headers)
    await client.flush()
    return inbox


async def _store(client: Client, stream: str, *, events: int) -> None:
    end = await _count(client, stream) + events
    await _publish(client, stream, events=events)
    async with asyncio.timeout(60):
        while await _count(client, stream) < end:
            await asyncio.sleep(0.01)


async def _until_one_is_left(folder: Path) -> None:
    """The server counts the events of a batch a moment before it removes its folder."""
    async with asyncio.timeout(60):
        while len(list(folder.iterdir())) != 1:
            await asyncio.sleep(0.01)


async def _count(client: Client, stream: str) -> int:
    return (await client.jetstream().stream_info(stream)).state.messages


async def _killed_while_writing(server: NatsServer) -> None:
    client = await _connect(server)
    await _publish(client, MESSAGING, events=_EVENTS, size=_BYTES)
    await asyncio.sleep(random.uniform(0, 0.06))  # the moment is what this is about
    server.kill()
    await server.wait()
    await client.close()


async def test_the_batches_of_that_stream_alone_are_in_memory_and_leave_nothing_behind(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    client = await _connect(server)
    for stream in (MESSAGING, AUTH):
        await _make(client, stream)
        await _publish(client, stream, events=5, commit=False)
        # Behind that: when these are stored, the server has begun with those.
        await _store(client, stream, events=20)
        # What is not committed is there, and what was is gone.
        await _until_one_is_left(_batches(tmp_path, stream))
    folder = _batches(tmp_path, MESSAGING).readlink()
    assert folder.is_relative_to("/dev/shm")
    assert folder.stat().st_mode & 0o077 == 0
    assert not _batches(tmp_path, AUTH).is_symlink()
    await client.close()
    await server.stop()
    assert not folder.exists()
    assert not _batches(tmp_path, MESSAGING).is_symlink()


async def test_a_killed_server_completes_a_batch_that_it_was_writing(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    client = await _connect(server)
    await _make(client, MESSAGING)
    await client.close()
    for _ in range(_KILLS):
        await _killed_while_writing(server)
        # Stopping what is left of the server keeps the folder.
        await server.stop()
        folder = _batches(tmp_path, MESSAGING).readlink()
        assert folder.is_dir()
        await server.start()
        assert not folder.exists()
        client = await _connect(server)
        assert await _count(client, MESSAGING) % _EVENTS == 0
        # The server has another folder by now.
        assert _batches(tmp_path, MESSAGING).readlink() != folder
        await client.close()
    await server.stop()


async def test_without_what_was_in_memory_the_stream_goes_on(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    client = await _connect(server)
    await _make(client, MESSAGING)
    await _store(client, MESSAGING, events=20)
    await client.close()
    for _ in range(_KILLS):
        await _killed_while_writing(server)
        # As a machine is that has lost its power.
        shutil.rmtree(_batches(tmp_path, MESSAGING).readlink())
        await server.start()
        client = await _connect(server)
        state = (await client.jetstream().stream_info(MESSAGING)).state
        assert (state.first_seq, state.last_seq) == (1, state.messages)
        assert state.messages >= 20
        await _store(client, MESSAGING, events=20)
        await client.close()
    await server.stop()


async def test_a_machine_without_room_in_memory_gathers_on_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_ramdisk, "_ROOM", 1 << 60)
    server = NatsServer(tmp_path)
    await server.start()
    client = await _connect(server)
    await _make(client, MESSAGING)
    await _store(client, MESSAGING, events=20)
    assert not _batches(tmp_path, MESSAGING).is_symlink()
    await client.close()
    await server.stop()


async def test_a_folder_in_use_is_left_until_it_is_empty(tmp_path: Path) -> None:
    there = batch_ramdisk.BatchRamdisk(tmp_path / "store", "$G")
    batch = _batches(tmp_path, MESSAGING) / "one under way"
    batch.mkdir(parents=True)
    placing = asyncio.create_task(there.install())
    await asyncio.sleep(0.05)
    assert batch.is_dir()
    batch.rmdir()
    await placing
    folder = _batches(tmp_path, MESSAGING).readlink()
    assert folder.is_dir()
    there.leave()
    assert not folder.exists()


async def test_what_a_killed_server_has_left_is_cleared_away_once_its_data_is_gone(tmp_path: Path) -> None:
    gone, kept = (
        batch_ramdisk.BatchRamdisk(tmp_path / "gone", "$G"),
        batch_ramdisk.BatchRamdisk(tmp_path / "kept", "$G"),
    )
    await gone.install()
    await kept.install()
    left, used = (
        (tmp_path / name / "jetstream" / "$G" / "streams" / MESSAGING / "batches").readlink()
        for name in ("gone", "kept")
    )
    shutil.rmtree(tmp_path / "gone")
    next_one = batch_ramdisk.BatchRamdisk(tmp_path / "next", "$G")
    await next_one.install()
    # Somebody may be about to make their link.
    assert left.is_dir()
    for folder in (left.parent, used.parent):
        os.utime(folder, (0, 0))
    batch_ramdisk._delete_leftovers()
    assert not left.parent.exists()
    assert used.is_dir()
    kept.leave()
    next_one.leave()
    assert not used.parent.exists()
