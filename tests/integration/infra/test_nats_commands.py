"""The commands that a deployment with rights needs: the server's accounts, and the streams."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from contracts.subjects import BUCKETS, LIMITS, STREAMS, stream_of_bucket
from infra.embedded.nats_server import NatsServer
from infra.security.secrets import NATS_PARTIES, TOPOLOGY, Secrets
from tests.fix_system import ROOT


@pytest_asyncio.fixture
async def empty(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server with rights and no streams."""
    server = NatsServer(tmp_path / "nats", passwords=Secrets.create(tmp_path / "secrets").nats_passwords())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def vestnik(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.cli.main", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60, check=False
    )


async def test_the_printed_accounts_are_those_of_the_passwords_in_the_folder_of_secrets(tmp_path: Path) -> None:
    done = await vestnik("nats-config", VESTNIK_DATA_DIR=str(tmp_path))
    accounts = json.loads(done.stdout)["accounts"]
    passwords = Secrets.load(tmp_path / "secrets").nats_passwords()
    assert {party: accounts[party]["users"][0]["password"] for party in NATS_PARTIES} == passwords
    assert "users" not in accounts["STORE"]


async def test_the_streams_are_made_by_the_one_who_has_the_right(empty: NatsServer) -> None:
    done = await vestnik("streams", VESTNIK_NATS_URL=empty.url_of(TOPOLOGY))
    assert (done.returncode, done.stderr) == (0, "")
    again = await vestnik("streams", VESTNIK_NATS_URL=empty.url_of(TOPOLOGY))
    names = (*STREAMS, LIMITS, *map(stream_of_bucket, BUCKETS))
    assert again.stdout == done.stdout == f"{', '.join(names)}: configured\n"


async def test_a_user_without_the_right_to_create_streams_gets_one_line(empty: NatsServer) -> None:
    done = await vestnik("streams", VESTNIK_NATS_URL=empty.url_of("contact"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("vestnik: no right to create or change the stream AUTH")
