"""The pages on adding a projection, a service and a route, word for word: their code in a copy of the project, run."""

import asyncio
import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from infra.runtime.run_file import find
from tests.e2e.people import Api, eventually
from tests.fix_system import ROOT, System

TUTORIAL = ROOT / "docs" / "tutorial" / "first-projection.md"
SHOWN = ROOT / "docs" / "howto" / "show-a-read-model-to-clients.md"
HOWTO = ROOT / "docs" / "howto" / "add-a-read-model.md"
FOLDS = ROOT / "docs" / "howto" / "fold-events-into-rows.md"
SERVICE = ROOT / "docs" / "howto" / "add-a-service.md"
EVENT = ROOT / "docs" / "howto" / "add-an-event.md"
ROUTE = ROOT / "docs" / "howto" / "add-a-route.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# In a list: a whole file, what is inserted into one after one of its lines, or what replaces some of its lines.
_FILE_BLOCK = re.compile(
    r"^   ```(?:python|proto|js)\n   (?:#|//) (\S+?)"
    r"(?:, after `([^`\n]+)`|, from `([^`\n]+)` up to `([^`\n]+)`)?\n(.*?)^   ```",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(r"# (\S+\.py)\n")
_NOT_COPIED = shutil.ignore_patterns(".*", "*.egg-info", "dist", "build")
_CHECKED = ".mypy_cache"


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[System]:
    """A system that runs from a copy of the project, in which the commands may make files."""
    root = tmp_path / "vestnik"
    shutil.copytree(ROOT, root, ignore=_NOT_COPIED)
    # As after a first `./just check`: mypy checks what the commands add and change.
    if (ROOT / _CHECKED).exists():
        shutil.copytree(ROOT / _CHECKED, root / _CHECKED)
    # The copy needs no environment of its own: what `./just` does once it has made one.
    just = root / "just"
    just.write_text('#!/bin/sh\nexec just "$@"\n')
    just.chmod(0o755)
    system = System(tmp_path / "data", root=root)
    try:
        yield system
    finally:
        system.stop()


def run(system: System, commands: str) -> str:
    environment = system.environment | {"URL": system.url, "DATA": str(system.data_dir)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = str(system.root)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=system.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_tutorial_on_a_first_projection_works_as_it_is_shown(copied: System) -> None:
    shown: list[str] = []
    for kind, block in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
        if kind == "python":
            match = _FILE.match(block)
            assert match, "a block of code begins with the name of its file"
            assert (copied.root / match[1]).is_file(), f"{match[1]} was not made before it is changed"
            (copied.root / match[1]).write_text(block, encoding="utf-8")
        elif block.strip() == "./just up":
            copied.stop()
            copied.start()
        else:
            shown.append(run(copied, block))
    output = "\n".join(shown)
    assert "1 passed" in output
    assert "hours_of_day" in output
    rows = copied.vestnik("rows", "hours_of_day", "--json").stdout
    assert '"messages":3' in rows
    assert '"at_weekends"' in rows
    # The tests that look at every projection; others do not see that there is one more.
    units = "tests/unit/projections tests/unit/infra/cli tests/unit/infra/devtools/scaffold_projection"
    assert " failed" not in run(copied, f"./just test {units} tests/unit/test_architecture.py -q -n 0")
    checked = [str(copied.root / name) for name in ("projections/hours_of_day.py", "tests/integration/projections")]
    for check in (["ruff", "check"], ["ruff", "format", "--check"]):
        run(copied, " ".join([*check, *checked]))


def test_the_code_of_the_howtos_runs_as_it_is_shown(copied: System) -> None:
    names = []
    for page in (HOWTO, FOLDS):
        for kind, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == "python":
                match = _FILE.match(block)
                assert match, "a block of code begins with the name of its file"
                (copied.root / match[1]).write_text(block, encoding="utf-8")
                names.append(match[1])
    tests = [name for name in names if name.startswith("tests/")]
    assert len(names) == 2 * len(tests)
    assert f"{len(tests)} passed" in run(copied, f"./just test {' '.join(tests)} -n 0")
    run(copied, f"ruff check {' '.join(names)} && ruff format --check {' '.join(names)}")


def write_files(system: System, page: Path) -> set[str]:
    """Writes what a page shows into the copy: whole files, insertions and replacements; returns the files' names."""
    names = set()
    for name, line, start, end, block in _FILE_BLOCK.findall(page.read_text(encoding="utf-8")):
        # The blocks are in a list, three columns deep.
        text = re.sub(r"^   ", "", block, flags=re.MULTILINE)
        path = system.root / name
        if line:
            before, marker, after = path.read_text(encoding="utf-8").partition(f"\n{line}\n")
            assert marker, f"{name} has no line {line!r}"
            text = before + marker + text + after
        elif start:
            before, _, replaced = path.read_text(encoding="utf-8").partition(f"\n{start}")
            assert f"\n{end}" in replaced, f"{name} has no lines from {start!r} up to {end!r}"
            kept = replaced[replaced.index(f"\n{end}") + 1 :]
            text = f"{before}\n{text}\n\n{kept}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        names.add(name)
    return names


async def test_a_read_model_is_shown_to_clients_as_it_is_made_and_as_the_page_changes_it(copied: System) -> None:
    make, test, read = (block for kind, block in BLOCK.findall(SHOWN.read_text(encoding="utf-8")) if kind == "sh")
    made = run(copied, make)
    checks = ("./just gen", "mypy", "ruff check", "ruff format --check")
    assert "3 passed" in run(copied, f"{test.strip()} -n 0 -q")
    for check in checks:
        run(copied, check)
    assert len(made.splitlines()) == 8
    written = write_files(copied, SHOWN)
    assert (len(written), sum(name.startswith("tests/") for name in written)) == (5, 2)
    assert "3 passed" in run(copied, f"{test.strip()} -n 0 -q")
    for check in checks:
        run(copied, check)
    run(copied, "./just test tests/unit/test_architecture.py tests/unit/services/gateway/openapi -n 0 -q")
    await asyncio.to_thread(copied.start)
    async with httpx.AsyncClient(base_url=copied.url, timeout=30) as http:
        anna, boris = await Api(copied, http).friends()
        await anna.sends(boris, "one", "two")

        async def shown() -> bool:
            answer = await asyncio.to_thread(run, copied, f"TOKEN={anna.access_token}\n{read}")
            expected = {"items": [{"user_id": boris.user_id, "messages": 2}], "next": None}
            return bool(msgspec.json.decode(answer) == expected)

        await eventually(shown, "both messages counted")
        too_high = b'{"user_id":"%b","messages":%d}' % (boris.user_id.encode(), 10**30)
        query = {"cursor": base64.urlsafe_b64encode(too_high).decode()}
        assert (await anna.ask("GET", "/v1/written-to", params=query)).status_code == 422
    for command in ("rebuild", "verify"):
        await asyncio.to_thread(copied.vestnik, command, "written_to")


# Hides a count, with the rights of the new service.
_HIDE = """
import asyncio, sys
from contracts.envelope import Provenance
from infra.runtime.connections import connect_nats
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.counting.commands import CountCommands
from streams.log import Log

async def hide(server: str) -> None:
    settings = Settings.load()
    password = Secrets.load(settings.secrets_path).nats_password("counting")
    nats = await connect_nats(Settings(nats_url=f"nats://counting:{password}@{server}"), "counting", patience=30.0)
    commands = CountCommands(Log(nats))
    assert await commands.hide("anna", Provenance()) == await commands.hide("anna", Provenance())
    await nats.close()

asyncio.run(hide(sys.argv[1]))
"""


async def test_a_service_its_route_and_its_event_work_as_they_are_shown(copied: System) -> None:
    service = write_files(copied, SERVICE)
    changed = {name for name in service if (ROOT / name).exists()}
    assert (len(service), changed) == (8, {"contracts/services.py", "contracts/subjects.py"})
    route = write_files(copied, ROUTE)
    assert len(route) == 3
    event = write_files(copied, EVENT)
    assert len(event) == 7
    python = " ".join(name for name in service | route | event if name.endswith(".py"))
    run(copied, "./just gen")
    run(copied, f"ruff check --fix-only --quiet {python} && ruff check {python} && ruff format --check {python}")
    run(copied, "./just test tests/unit/test_architecture.py tests/unit/contracts/test_services.py -n 0 -q")
    await asyncio.to_thread(copied.start)
    status = msgspec.json.decode((await asyncio.to_thread(copied.vestnik, "status", "--json")).stdout)
    assert {row["name"]: row["state"] for row in status["services"]}["counting"] == "serving"
    assert {row["name"]: row["state"] for row in status["projections"]}["message_counts"] == "live"
    async with httpx.AsyncClient(base_url=copied.url, timeout=30) as http:
        anna, boris = await Api(copied, http).friends()
        await anna.sends(boris, "one", "two")

        async def counted() -> bool:
            return bool((await anna.get("/v1/messages/count")).json() == {"messages": 2})

        await eventually(counted, "both messages counted")
    server = find(copied.data_dir).nats_url.rpartition("@")[2]
    (copied.root / "hide.py").write_text(_HIDE, encoding="utf-8")
    await asyncio.to_thread(run, copied, f"python hide.py {server}")
    shown = (await asyncio.to_thread(copied.vestnik, "events", "--stream", "COUNTING")).stdout
    assert shown.count("count.hidden") == 1
