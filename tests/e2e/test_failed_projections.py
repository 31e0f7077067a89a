"""Projections that fail by their own fault: one the database refuses, files that cannot be loaded, one that is read."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.runtime.run_file import find
from tests.e2e.people import Api, Json, assert_problem, eventually
from tests.fix_system import ROOT, System

_NOT_COPIED = shutil.ignore_patterns(".*", "*.egg-info", "dist", "build", "docs")
_PROJECTION = '''
from contracts.subjects import CONTACT
from projections.engine import Projection


class {name}(Projection):
    streams = {streams}
    tables = """CREATE TABLE {{{table}}} ({columns})"""
'''
_STOPS = """
from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, RowChanges, folds, handles, rows_of
import msgspec


class Count(msgspec.Struct):
    messages: int


class Stops(Projection):
    streams = [MESSAGING]
    tables = "CREATE TABLE {stops} (id uuid PRIMARY KEY, messages integer NOT NULL)"

    @folds(MessageSent, table="stops", key=lambda event: {"id": event.data.no_such_field})
    def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count:
        return Count(1)


class Looks(Projection):
    streams = [MESSAGING]
    tables = "CREATE TABLE {looks} (id uuid PRIMARY KEY, messages integer NOT NULL)"

    @handles(MessageSent, seen=rows_of("looks", Count, key=lambda event: {"id": event.data.sender_id}))
    def sent(self, event: Recorded[MessageSent], write: RowChanges, seen: list[Count]) -> None:
        raise ValueError("looked up in vain")
"""
_FAILED = re.compile(r'^vestnik_projection_failed\{projection="(\w+)",version="(\d+)"\} 1\.0$', re.MULTILINE)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[System]:
    """A system that runs from a copy of the project with three more projections that fail, and one of ours broken."""
    root = tmp_path / "vestnik"
    shutil.copytree(ROOT, root, ignore=_NOT_COPIED)
    refused = _PROJECTION.format(name="Refused", streams="[CONTACT]", table="refused", columns="id no_such_type")
    unknown = _PROJECTION.format(name="Unknown", streams='["NOWHERE"]', table="unknown", columns="id uuid PRIMARY KEY")
    (root / "projections" / "refused.py").write_text(refused)
    (root / "projections" / "unknown.py").write_text(unknown)
    (root / "projections" / "unloaded.py").write_text("import no_such_module\n")
    (root / "projections" / "stops.py").write_text(_STOPS)
    with (root / "projections" / "notifications.py").open("a") as file:
        file.write("\nraise RuntimeError('broken by a deploy')\n")
    system = System(tmp_path / "data", root=root)
    try:
        yield system
    finally:
        system.stop()


async def test_a_failed_projection_stops_nothing_but_its_own_reads(failing: System) -> None:
    await asyncio.to_thread(failing.start)
    done = await asyncio.to_thread(failing.vestnik, "status", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    failed = {row["name"]: row for row in status["projections"] if row["state"] == "failed"}
    assert {name: row["version"] for name, row in failed.items()} == {
        "refused": 1,
        "unknown": 0,
        "unloaded": 0,
        "notifications": 0,
    }
    assert "no_such_type" in failed["refused"]["last_error"]["error"]
    assert "streams must be among" in failed["unknown"]["last_error"]["error"]
    assert "no_such_module" in failed["unloaded"]["last_error"]["error"]
    assert "broken by a deploy" in failed["notifications"]["last_error"]["error"]
    assert {row["state"] for row in status["services"]} == {"serving"}
    assert {row["state"] for row in status["projections"]} == {"failed", "live"}

    async with httpx.AsyncClient(base_url=failing.url, timeout=30) as http:
        one, other = await Api(failing, http).friends()
        await one.sends(other, "hello")

        async def read() -> bool:
            return [message["text"] for message in await other.messages(one)] == ["hello"]

        await eventually(read, "the message read")
        assert_problem(await other.get("/v1/notifications"), 503, "unavailable")
        await passed_over(failing)
        failed_versions = {
            service: set(_FAILED.findall((await http.get(urls[0])).text))
            for service, urls in find(failing.data_dir).metrics.items()
        }
    assert ("refused", "1") in failed_versions["contact"]
    assert {("unknown", "0"), ("unloaded", "0"), ("notifications", "0")} <= failed_versions["messaging"]

    done = await asyncio.to_thread(failing.vestnik, "rebuild", "unloaded")
    assert done.returncode != 0
    assert "no_such_module" in done.stderr


async def passed_over(system: System) -> None:
    """A message stops one projection and is a dead letter of another; reactions go on, and the first one passes it."""

    async def state(name: str) -> str:
        (row,) = [row for row in (await status_of(system))["projections"] if row["name"] == name]
        return str(row["state"])

    async def stopped() -> bool:
        return await state("stops") == "failed"

    await eventually(stopped, "the projection stopped")
    status = await status_of(system)
    (row,) = [row for row in status["projections"] if row["name"] == "stops"]
    assert "MESSAGING 1 belongs to is unknown" in row["last_error"]["error"]
    (row,) = [row for row in status["projections"] if row["name"] == "looks"]
    assert (row["state"], row["dead_letters"]["failed"]) == ("live", 1)
    assert {row["state"] for row in status["services"]} == {"serving"}
    assert {(row["state"], row["parked"]) for row in status["reactions"]} == {("running", 0)}
    done = await asyncio.to_thread(system.vestnik, "projections", "skip", "stops", "--reason", "a test", "--json")
    assert done.returncode == 0, done.stderr
    skipped = json.loads(done.stdout)
    assert (skipped["stream"], skipped["sequence"], skipped["type"]) == ("MESSAGING", 1, "message.sent")

    async def live() -> bool:
        return await state("stops") == "live"

    await eventually(live, "the projection going on")
    done = await asyncio.to_thread(system.vestnik, "verify", "stops", "--json")
    assert json.loads(done.stdout)["projections"][0]["discarded"] == 1


async def status_of(system: System) -> Json:
    done = await asyncio.to_thread(system.vestnik, "status", "--json")
    assert done.returncode == 0, done.stderr
    status: Json = json.loads(done.stdout)
    return status
