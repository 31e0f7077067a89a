"""The embedded NATS server: what was acknowledged is there after SIGKILL, and strangers stay out."""

import asyncio
import os
import signal
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from infra.embedded.nats_server import GARBAGE_PERCENT, NatsFailed, NatsServer
from infra.security.secrets import NATS_PARTIES

PASSWORDS = {party: f"right for {party}".replace(" ", "-") for party in NATS_PARTIES}


async def _connect(url: str) -> Client:
    return await nats.connect(url, allow_reconnect=False, connect_timeout=60)


async def test_acknowledged_messages_survive_sigkill_and_the_port_stays(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    url = await server.start()
    client = await _connect(url)
    await client.jetstream().add_stream(name="S", subjects=["s.>"])
    for number in range(20):
        await client.jetstream().publish("s.a", str(number).encode())
    server.kill()
    assert await server.wait() == -signal.SIGKILL
    await client.close()

    assert await server.start() == url
    client = await _connect(url)
    info = await client.jetstream().stream_info("S")
    assert info.state.messages == 20
    await client.close()
    await server.stop()


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", passwords=PASSWORDS)
    url = await server.start()
    for party in NATS_PARTIES:
        client = await _connect(server.url_of(party))
        await client.close()

    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    await reader.readline()
    writer.write(b'CONNECT {"user":"operator","pass":"wrong","verbose":true}\r\n')
    assert b"Authorization Violation" in await reader.readline()
    writer.close()
    await server.stop()


async def test_its_configuration_is_for_the_owner_alone(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", passwords=PASSWORDS)
    await server.start()
    await server.stop()
    assert (tmp_path / "nats" / "nats.conf").stat().st_mode & 0o077 == 0


async def test_it_writes_through_to_the_disk_and_leaves_the_disk_room(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    await server.start()
    await server.stop()
    config = (tmp_path / "nats" / "nats.conf").read_text()
    assert '"sync_interval": "always"' in config
    free = os.statvfs(tmp_path)
    limit = int(config.split('"max_file_store": ')[1].split(",")[0])
    assert limit < free.f_bavail * free.f_frsize


async def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    first = NatsServer(tmp_path / "first")
    await first.start()
    port = int(first.url.rsplit(":", 1)[1])
    second = NatsServer(tmp_path / "second", port=port, passwords=PASSWORDS)
    with pytest.raises(NatsFailed, match="address already in use"):
        await second.start()
    await first.stop()


async def test_a_new_server_waits_for_an_orphan_that_still_works_in_the_folder(tmp_path: Path) -> None:
    orphan = NatsServer(tmp_path / "nats")
    await orphan.start()
    successor = NatsServer(tmp_path / "nats")
    starting = asyncio.create_task(successor.start())
    done, _ = await asyncio.wait([starting], timeout=0.3)
    assert not done
    orphan.kill()
    await orphan.wait()
    await starting
    await successor.stop()


@pytest.mark.parametrize("said", [{}, {"GOGC": "200", "GOMAXPROCS": "7"}])
async def test_it_is_modest_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str]
) -> None:
    half = max(1, len(os.sched_getaffinity(0)) // 2)
    for name in ("GOGC", "GOMAXPROCS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    server = NatsServer(tmp_path / "nats")
    await server.start()
    variables = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
    await server.stop()
    wanted = {"GOGC": GARBAGE_PERCENT, "GOMAXPROCS": str(half)} | said
    assert {f"{name}={value}".encode() for name, value in wanted.items()} <= set(variables)
