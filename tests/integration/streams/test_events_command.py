"""`vestnik events` shows what happened, and of private events only that it did."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, seal
from contracts.events.user import CredentialSet, UserCreated
from contracts.subjects import credential, user
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from streams.log import Append, Log
from tests.integration.streams.conftest import append_to, fill

PATIENCE = 60
USER = new_id()
ENVELOPE = {
    "id", "type", "schema", "aggregate_id", "version", "at", "actor", "correlation_id", "causation_id",
    "traceparent", "data",
}  # fmt: skip


@pytest.fixture
async def history(log: Log) -> None:
    by = Provenance(actor=USER, correlation_id="request")
    secret = seal(CredentialSet(password_hash="$2b$12$secret"), aggregate_id=USER, version=1, provenance=by)
    public = seal(UserCreated(username="ada"), aggregate_id=USER, version=1, provenance=by)
    await log.append_together(
        [
            Append(subject=credential(USER), expected=0, envelope=secret),
            Append(subject=user(USER), expected=0, envelope=public),
        ]
    )
    await fill(log, 3, "a.b")


class Command:
    def __init__(self, url: str, folder: Path) -> None:
        self._environment = {**os.environ, "VESTNIK_NATS_URL": url, "VESTNIK_DATA_DIR": str(folder)}

    async def __call__(self, *options: str, expect: int = 0) -> list[dict[str, Any]]:
        async with self.started("--json", *options) as process:
            output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == expect, errors.decode()
        shown = [json.loads(line) for line in output.splitlines()]
        # Each command is recorded as an operator's look.
        return [event for event in shown if event["type"] != "operator.looked"]

    @asynccontextmanager
    async def started(self, *options: str) -> AsyncIterator[Process]:
        command = [sys.executable, "-m", "infra.cli.main", "events", *options]
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=self._environment)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@pytest.fixture
def events(nats_server: NatsServer, tmp_path: Path) -> Command:
    return Command(nats_server.url, tmp_path)


async def test_every_event_is_one_object_with_the_whole_envelope(history: None, log: Log, events: Command) -> None:
    shown = await events()
    assert [event["type"] for event in shown] == ["credential.set", "user.created", *["message.sent"] * 3]
    assert all(set(event) == ENVELOPE | {"stream", "sequence", "subject"} for event in shown)
    stored = (await log.read(user(USER)))[0]
    created = shown[1]
    assert (created["stream"], created["sequence"], created["subject"]) == ("AUTH", 2, stored.subject)
    assert {name: created[name] for name in ENVELOPE & set(json.loads(stored.payload))} == json.loads(stored.payload)


async def test_a_private_event_comes_without_its_data(history: None, events: Command) -> None:
    secret, public = (await events("--stream", "AUTH"))[:2]
    assert (secret["type"], secret["data"]) == ("credential.set", None)
    assert public["data"] == {"username": "ada"}


async def test_events_are_chosen_by_stream_type_aggregate_and_time(history: None, events: Command) -> None:
    assert {event["stream"] for event in await events("--stream", "messaging")} == {"MESSAGING"}
    assert {event["type"] for event in await events("--type", "user.created")} == {"user.created"}
    assert [event["type"] for event in await events("--id", USER)] == ["credential.set", "user.created"]
    assert [event["version"] for event in await events("--id", "a.b")] == [1, 2, 3]
    now = datetime.now(UTC).isoformat()
    assert len(await events("--until", now)) == len(await events("--since", "10m")) == 5
    assert await events("--since", now) == []
    assert await events("--until", "2020-01-01") == []
    assert len(await events("--since", "0001-01-01T00:00:00+14:00", "--until", "9999-12-31T23:59:59-12:00")) == 5


async def test_following_shows_what_comes(history: None, log: Log, events: Command) -> None:
    async with events.started("--json", "--follow", "--stream", "MESSAGING") as process, asyncio.timeout(PATIENCE):
        assert process.stdout is not None
        before = [json.loads(await process.stdout.readline()) for _ in range(3)]
        await log.append(append_to("live"))
        assert json.loads(await process.stdout.readline())["aggregate_id"] == "live"
        assert [event["sequence"] for event in before] == [1, 2, 3]


async def test_people_get_a_line_each(history: None, events: Command) -> None:
    async with events.started() as process:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    *lines, look = output.decode().splitlines()
    assert len(lines) == 5
    assert "operator.looked" in look
    assert "credential.set" in lines[0]
    assert lines[0].endswith("(private)")
    assert "$2b$" not in output.decode()
    assert '"ada"' in lines[1]
    assert "\x1b" not in output.decode()


async def test_a_reader_that_goes_away_ends_it_quietly(history: None, log: Log, events: Command) -> None:
    await fill(log, 5_000, "long")
    async with events.started("--json") as process, asyncio.timeout(PATIENCE):
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        process.stdout._transport.close()  # type: ignore[attr-defined]  # asyncio has no other way to close a pipe
        assert await process.stderr.read() == b""
        await process.wait()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--stream", "NONE"], "messaging"),
        (["--type", "no.type"], "message.sent"),
        (["--id", "a>"], "not the id of an aggregate"),
        (["--since", "soon"], "15m"),
        (["--follow", "--until", "1m"], "--until"),
    ],
)
async def test_a_wrong_option_is_a_clear_word(events: Command, options: list[str], word: str) -> None:
    async with events.started(*options) as process:
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 2
    assert word in errors.decode()


async def test_without_streams_it_says_so(nats: Client, events: Command) -> None:
    async with events.started() as process:
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 1
    assert errors.decode().count("\n") == 1
    assert "there is no stream" in errors.decode()
