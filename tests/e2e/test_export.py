"""A whole system restored from its export on another machine with an empty database: same users, messages and rows."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import sql

from contracts.durable_consumers import DURABLES
from contracts.subjects import NOTARY
from infra.runtime.run_file import find
from streams.jetstream.client import Client
from tests.e2e.conftest import client
from tests.e2e.people import Api, Json, Person, assert_problem, eventually
from tests.e2e.test_durability import shown
from tests.fix_system import ROOT, System

Rows = dict[str, list[str]]
# What a system has without having been imported into.
_OF_ITS_OWN = "claims.key"


class _ConsumerState(msgspec.Struct):
    """How far a durable consumer is."""

    num_pending: int
    num_ack_pending: int


@pytest.fixture
def systems(tmp_path: Path) -> Iterator[tuple[System, System]]:
    """Two systems at one address, so that tokens of one are valid at the other; not started."""
    first, second = System(tmp_path / "first"), System(tmp_path / "second")
    second.port, second.url = first.port, first.url
    yield first, second
    first.stop()
    second.stop()


def rows(system: System) -> Rows:
    """All rows of the read models, except counts of operators' acts, since an export is one."""
    by_view: Rows = {}
    with psycopg.connect(system.database_url(), autocommit=True) as connection:
        views = connection.execute(
            "SELECT table_name FROM information_schema.views"
            " WHERE table_schema ~ '^vestnik_' AND table_name ~ '_v[0-9]+$'"
            " AND table_name !~ '^anomalies_operator_hours_'"
        ).fetchall()
        for (view,) in views:
            read = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view))).fetchall()
            by_view[view] = sorted(map(repr, read))
    return by_view


def said(system: System, *arguments: str) -> Json:
    done = system.vestnik(*arguments, "--json", within=240)
    assert done.returncode == 0, done.stdout + done.stderr
    body: Json = json.loads(done.stdout)
    return body


def ends(report: Json) -> dict[str, int]:
    """The last sequence of each stream except NOTARY, to which heads are appended while nothing happens."""
    return {stream["name"]: stream["last_sequence"] for stream in report["streams"] if stream["name"] != NOTARY}


async def caught_up(system: System) -> None:
    async def no_lag() -> bool:
        projections = (await asyncio.to_thread(said, system, "status"))["projections"]
        return all(projection["lag"] == 0 and projection["state"] == "live" for projection in projections)

    await eventually(no_lag, "every read model at the end", within=120)


async def reacted(system: System) -> None:
    """Waits until every reaction has been through all events."""
    nats = Client()
    await nats.connect(find(system.data_dir).nats_url, inbox_prefix=b"_INBOX_operator")
    try:
        for durable in DURABLES:

            async def done(subject: str = f"$JS.API.CONSUMER.INFO.{durable.stream}.{durable.name}") -> bool:
                answer = (await nats.request(subject, timeout=10)).data
                if b'"error"' in answer:
                    return False
                state = msgspec.json.decode(answer, type=_ConsumerState)
                return state.num_pending == state.num_ack_pending == 0

            await eventually(done, durable.name, within=120)
    finally:
        await nats.close()


async def refreshed(api: Api, token: str) -> str:
    answer = await api.http.post("/v1/sessions/refresh", json={"refresh_token": token})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["refresh_token"])


async def populate(api: Api) -> tuple[list[Person], str]:
    """Two friends with messages, a pending request, an unverified user, and a used refresh token."""
    anna, boris = await api.friends()
    clara = await api.person()
    await anna.sends(boris, "one", "two", "three")
    await boris.sends(anna, "four")
    assert (await boris.sees(anna, 3)).status_code == 204
    assert (await clara.add(anna)).status_code == 201
    assert (await anna.ask("PATCH", "/v1/profiles/me", json={"bio": "here before"})).status_code == 200
    again = await api.again(anna, device="phone")
    assert (await again.ask("DELETE", "/v1/sessions/current")).status_code == 204
    unverified = await api.register()
    await api.mailed_token(unverified["email"])
    spent = anna.refresh_token
    anna.refresh_token = await refreshed(api, await refreshed(api, spent))
    return [anna, boris, clara], spent


async def test_a_system_that_was_made_out_of_an_export_is_the_system_that_was_exported(
    systems: tuple[System, System], tmp_path: Path
) -> None:
    first, second = systems
    file = tmp_path / "export"
    first.start()
    async with client(first) as http:
        api = Api(first, http)
        people, spent = await populate(api)
        # What the last mail has left behind comes a moment later than the mail.
        await reacted(first)
        await caught_up(first)
        as_shown = await shown(people)
    as_stored, at = rows(first), ends(said(first, "status"))
    exported = said(first, "export", str(file))
    # It contains its own record.
    at["OPERATOR"] += 1
    assert ends(exported) == at
    keys = str(tmp_path / "keys")
    assert first.vestnik("keys", "back-up", keys).returncode == 0
    first.stop()

    shutil.copytree(first.data_dir / "secrets", second.data_dir / "secrets")
    (second.data_dir / "secrets" / _OF_ITS_OWN).unlink()
    second.start()
    assert said(second, "keys", "restore", keys, "--reason", "a test")["restored"]
    imported = said(second, "import", str(file), "--keys", keys, "--reason", "a test")
    assert imported["events"] == exported["events"]
    assert [note for note in imported["notes"] if _OF_ITS_OWN not in note] == []

    acts = second.vestnik("audit", "operators", "--acts", "--json").stdout.splitlines()
    assert [(act["action"], act["reason"], act["outcome"]) for act in map(json.loads, acts)] == [
        ("archive.export", "", None),
        ("keys.restore", "a test", "done"),
        ("archive.import", "a test", "done"),
    ]
    at["OPERATOR"] += 1

    await reacted(second)
    await caught_up(second)
    async with client(second) as http:
        api = Api(second, http)
        # The restore of the keys, the import, and their ends.
        at["OPERATOR"] += 4
        assert ends(said(second, "status")) == at, "a reaction did something for a second time"
        assert api.mails() == []
        assert rows(second) == as_stored
        assert said(second, "rebuild", "--all")["rebuilt"]
        assert rows(second) == as_stored
        for person in people:
            person.http = http
        assert await shown(people) == as_shown
        await assert_it_goes_on(api, people, spent)


async def assert_it_goes_on(api: Api, people: list[Person], spent: str) -> None:
    anna, boris, _ = people
    assert (await api.log_in(anna.username)).status_code == 201
    assert_problem(await api.log_in(anna.email, "another password"), 401, "invalid_credentials")
    taken = api.registration(username=anna.username)
    assert_problem(await api.http.post("/v1/users", json=taken), 409, "username_taken")
    sent = await boris.sends(anna, "five")
    assert sent[0]["sequence"] == 5
    await refreshed(api, anna.refresh_token)
    answer = await api.http.post("/v1/sessions/refresh", json={"refresh_token": spent})
    assert_problem(answer, 401, "refresh_token_reused")


async def test_the_commands_of_the_pages_on_backups_work_as_they_are_shown(own_api: Api, tmp_path: Path) -> None:
    await own_api.person()
    folders = {name: tmp_path / name.lower() for name in ("BACKUPS", "SAFE", "KEYS")}
    for folder in folders.values():
        folder.mkdir()
    folders["NEW_DATA_DIR"] = tmp_path / "new"
    environment = own_api.system.environment | {name: str(folder) for name, folder in folders.items()}
    run_page("docs/howto/back-up.md", environment)
    (exported,) = folders["BACKUPS"].glob("*.export")
    run_page("docs/runbooks/restore-from-export.md", environment | {"FILE": str(exported)})
    assert (folders["NEW_DATA_DIR"] / "nats").is_dir()
    first, second = (
        (folder / "secrets" / "refresh.key").read_bytes() for folder in (own_api.system.data_dir, tmp_path / "new")
    )
    assert first == second


def run_page(page: str, environment: dict[str, str]) -> None:
    """Runs all commands of a page except those that start the system."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    shown_commands = "\n".join(block for block in blocks if "vestnik up" not in block)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shown_commands],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
