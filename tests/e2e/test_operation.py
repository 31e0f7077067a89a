"""Operation of a running system: status, metrics, dead letters, runbooks."""

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from contracts.durable_consumers import DURABLES
from contracts.subjects import STREAMS
from projections.conversations import Conversations
from tests.e2e.documented_commands import commands
from tests.e2e.people import Api, Json, eventually
from tests.e2e.poison import poisoned
from tests.e2e.test_cli import live_table
from tests.fix_system import ROOT, System, one_replica, wait_until


async def said(api: Api, *arguments: str, code: int = 0) -> Json:
    done = await asyncio.to_thread(api.system.vestnik, *arguments, "--json")
    assert done.returncode == code, done.stderr
    body: Json = json.loads(done.stdout)
    return body


async def lines(api: Api, *arguments: str) -> list[Json]:
    done = await asyncio.to_thread(api.system.vestnik, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@one_replica
async def test_the_status_says_how_far_each_projection_is_in_events_and_in_seconds(api: Api) -> None:
    await api.friends()

    async def caught_up() -> bool:
        rows = (await said(api, "status"))["projections"]
        return all(row["lag"] == 0 and row["lag_seconds"] == 0 for row in rows)

    await eventually(caught_up, "every projection at its streams' ends")
    for row in (await said(api, "status"))["projections"]:
        assert (row["state"], row["last_error"]) == ("live", None)
        assert set(row["dead_letters"]) == {"failed", "parked"}
        assert row["bytes"] > 0
        assert row["checkpoint_at"]

    async def done() -> bool:
        rows = (await said(api, "status"))["reactions"]
        assert {row["name"] for row in rows} == {durable.name for durable in DURABLES}
        return all(
            (row["state"], row["lag"], row["lag_seconds"], row["parked"]) == ("running", 0, 0, 0) for row in rows
        )

    await eventually(done, "every reaction at its stream's end")


async def test_every_process_tells_its_figures_at_the_place_that_the_status_names(api: Api) -> None:
    services = (await said(api, "status"))["services"]
    for service in services:
        # Clients wait for neither: there is one of each.
        single = service["name"] in ("operator", "notary")
        assert len(service["metrics"]) == (1 if single else api.system.replicas)
        for url in service["metrics"]:
            answer = await api.http.get(url)
            assert answer.status_code == 200
            names = {family.name for family in text_string_to_metric_families(answer.text)}
            assert "process_resident_memory_bytes" in names
            if service["name"] != "gateway":
                assert "vestnik_log_events_appended" in names
            if service["name"] not in ("gateway", "notary"):
                assert "vestnik_projection_leading" in names
    leading = 0
    for url in next(service["metrics"] for service in services if service["name"] == "messaging"):
        text = (await api.http.get(url)).text
        of_today = f'projection="conversations",version="{Conversations.version}"'
        leading += text.count(f"vestnik_projection_leading{{{of_today}}} 1.0")
    # However many replicas there are, one applies.
    assert leading == 1


def read_until(terminal: int, text: str, times: int) -> str:
    """Reads a program's terminal output until the text has appeared `times` times."""
    seen, deadline = b"", time.monotonic() + 60
    while seen.decode(errors="replace").count(text) < times:
        assert time.monotonic() < deadline, seen.decode(errors="replace")
        if select.select([terminal], [], [], 0.5)[0]:
            seen += os.read(terminal, 65_536)
    return seen.decode(errors="replace")


@one_replica
@pytest.mark.parametrize("kind", ["xterm-256color", "dumb"])
def test_the_watched_status_is_shown_again_and_again_until_it_is_interrupted(system: System, kind: str) -> None:
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", "status", "--watch", "--interval", "0.1"],
        cwd=ROOT,
        env=system.environment | {"TERM": kind, "COLUMNS": "160", "LINES": "80"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        read_until(ours, "conversations", 3)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
        os.write(theirs, b"\nthe end\n")
        rest = read_until(ours, "the end", 1)
        assert "Traceback" not in rest
        # A terminal that can hide its cursor has it back.
        assert "\x1b[?25h" in rest or kind == "dumb"
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
        os.close(theirs)


@one_replica
def test_a_watched_status_is_one_object_a_line_where_a_program_reads_it(system: System) -> None:
    watching = subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", "status", "--watch", "--interval", "0.1", "--json"],
        cwd=ROOT,
        env=system.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert watching.stdout is not None
    with watching.stdout as output:
        for _ in range(3):
            assert json.loads(output.readline())["streams"]
        watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 130


@pytest.mark.parametrize(("part", "missing"), [("nats", "streams"), ("postgres", "projections")])
def test_the_status_says_what_is_not_reachable_and_shows_the_rest(own_system: System, part: str, missing: str) -> None:
    """A stopped server still accepts connections and never answers."""
    for server in own_system.serving(part):
        os.kill(server.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        done = own_system.vestnik("status", "--json")
        assert time.monotonic() - begun < 30
    finally:
        for server in own_system.serving(part):
            os.kill(server.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert part in done.stderr
    status = json.loads(done.stdout)
    assert [entry["part"] for entry in status["unreachable"]] == [part]
    if missing == "streams":
        assert status["streams"] == []
        assert {row["state"] for row in status["reactions"]} == {"unknown"}
        assert all(row["lag"] is None and row["state"] == "live" for row in status["projections"])
    else:
        assert len(status["streams"]) == len(STREAMS)
        assert {row["state"] for row in status["projections"]} == {"unknown"}
    own_system.wait_ready()


async def test_the_runbooks_commands_work_as_they_are_shown(own_api: Api, tmp_path: Path) -> None:
    api = own_api
    anna, boris = await api.friends()
    conversation_id = await poisoned(api, anna, boris)

    async def failed() -> bool:
        return len(await lines(api, "dead-letters", "list", "conversations", "--aggregate", conversation_id)) == 1

    await eventually(failed, "a dead letter")
    (dead_letter,) = await lines(api, "dead-letters", "list", "conversations", "--aggregate", conversation_id)
    assert (dead_letter["state"], dead_letter["type"], dead_letter["waiting"]) == ("failed", "message.sent", 0)
    shown = await said(api, "dead-letters", "show", dead_letter["id"])
    assert shown["event"]["data"] == {"text": "no message of anybody"}
    # Nobody has decided about it yet.
    export = ("export", str(tmp_path / "export"))
    refused = await asyncio.to_thread(api.system.vestnik, *export)
    assert refused.returncode == 1
    assert f"{dead_letter['stream']} {dead_letter['sequence']} (message.sent of schema 1" in " ".join(
        refused.stderr.split()
    )
    for page in ("projection-behind.md", "dead-letter.md"):
        output = await asyncio.to_thread(in_shell, api.system, ROOT / "docs" / "runbooks" / page, dead_letter["id"])
        # In the status, and in the list; the same page's commands have put it right.
        assert "1 + 0 waiting" in output or dead_letter["id"] in output
        assert "projection conversations None None <insufficient privilege>" not in output
    assert await lines(api, "dead-letters", "list", "conversations") == []
    (kept,) = await lines(api, "dead-letters", "list", "conversations", "--state", "discarded")
    assert kept["discard"]["reason"].startswith("written by a script")
    exported = await asyncio.to_thread(api.system.vestnik, *export)
    assert exported.returncode == 0, exported.stderr
    # What was decided is in a stream, and survives the database.
    (event,) = await lines(api, "events", "--stream", "OPERATOR", "--type", "dead_letter.discarded")
    assert (event["type"], event["data"]) == ("dead_letter.discarded", None)
    api.system.drop_database()
    assert api.system.interrupt() == 0
    api.system.start()
    assert await lines(api, "dead-letters", "list", "--state", "discarded") == [kept]
    assert await lines(api, "dead-letters", "list", "conversations") == []
    (verdict,) = (await said(api, "verify", "conversations"))["projections"]
    assert (verdict["equal"], verdict["discarded"], verdict["dead_letters"]) == (True, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "said_of_it"),
    [
        (["show", "conversations.v1.b99.MESSAGING.1"], "build 99 of version 1 does not exist"),
        (["retry", "--id", "friends.v1.b1.CONTACT.999999"], "there is no dead letter"),
        (["retry", "--id", "nothing.v1.b1.CONTACT.1"], "there is no projection 'nothing'"),
        (["discard", "17", "--reason", "a test"], "is not the id of a dead letter"),
        (["discard", "friends.v1.b1.CONTACT.1", "--reason", " "], "give a reason"),
        (["retry", "friends", "--id", "friends.v1.b1.CONTACT.1"], "not both"),
    ],
)
def test_what_cannot_be_done_with_dead_letters_is_said_in_a_line(
    own_system: System, arguments: list[str], said_of_it: str
) -> None:
    done = own_system.vestnik("dead-letters", *arguments)
    assert done.returncode != 0
    assert said_of_it in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_mended_event_is_applied_by_command_while_everything_runs(own_api: Api) -> None:
    """The fault is in the table, so that it can be fixed while the services of this release run."""
    api = own_api
    anna, boris = await api.friends()
    await anna.sends(boris, "one")
    with psycopg.connect(api.system.superusers_database_url(), autocommit=True) as connection:
        table = sql.Identifier(*live_table(connection, "conversations_messages"))
        connection.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT fault CHECK (text <> 'a fault')").format(table))
        sent = [(await anna.write(boris, text, f"id-{len(text)}")).json() for text in ("a fault", "three")]
        # Neither is in the read model, and neither is sent twice.
        for message in sent:
            again = await anna.write(boris, message["text"], f"id-{len(message['text'])}")
            assert (again.status_code, again.json()) == (200, message)

        async def waiting() -> list[Json]:
            rows = await lines(api, "dead-letters", "list", "conversations", "--type", "message.sent")
            return rows if len(rows) == 2 else []

        dead_letters = await eventually(waiting, "both events among the dead letters")
        assert [dead_letter["state"] for dead_letter in dead_letters] == ["failed", "parked"]
        assert "fault" in dead_letters[0]["error"]
        assert dead_letters[1]["behind"] == dead_letters[0]["id"]
        connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT fault").format(table))
    outcome = await said(api, "dead-letters", "retry", "--id", dead_letters[0]["id"])
    assert [(retry["outcome"], retry["applied"], retry["left"]) for retry in outcome["retried"]] == [("applied", 2, 0)]
    await anna.sends(boris, "four")
    assert [message["text"] for message in await boris.messages(anna, after=0)] == ["one", "a fault", "three", "four"]
    assert (await said(api, "verify", "conversations"))["equal"]


def in_shell(system: System, page: Path, letter_id: str) -> str:
    """Runs the page's commands as an operator would type them."""
    own = {"ID": letter_id, "DATABASE_URL": system.database_url(), "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", PSQL + commands(page)],
        cwd=ROOT,
        env=system.environment | own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


# The machine may have no psql of its own: the query goes to the same server by another client.
PSQL = f"""psql() {{ {sys.executable} -c 'import psycopg, sys
connection = psycopg.connect(sys.argv[1])
for answer in [connection.execute(query) for query in sys.argv[3::2]]:
    for row in answer if answer.description else (): print(*row)' "$@"; }}
"""


def test_an_event_store_without_space_is_named_everywhere_and_goes_on_when_there_is_room(own_system: System) -> None:
    """As when the disk is nearly full: the limit of the streams' account is what `vestnik up` sets then."""
    config = own_system.data_dir / "nats" / "nats.conf"
    opened = config.read_text()
    closed = json.loads(opened)
    closed["accounts"]["STORE"]["jetstream"] = {"max_mem": -1, "max_file": 1}

    def set_limits(text: str) -> None:
        config.write_text(text)
        for server in own_system.serving("nats"):
            os.kill(server.pid, signal.SIGHUP)

    def is_named() -> bool:
        answer = httpx.get(f"{own_system.url}/readyz")
        return answer.status_code == 200 and answer.json().get("warnings") == ["event store: out of space"]

    def register(name: str) -> httpx.Response:
        body = {"username": name, "email": f"{name}@example.org", "password": "a long and silent evening"}
        return httpx.post(f"{own_system.url}/v1/users", json=body, timeout=60)

    assert register("early").status_code == 201
    set_limits(json.dumps(closed))
    try:
        wait_until(is_named, "/readyz says that there is no space")
        refused = register("too_late")
        assert (refused.status_code, refused.json()["code"]) == (503, "out_of_space")
        assert refused.headers["Retry-After"]
        # On a busy machine NATS may not answer a status in time.
        wait_until(lambda: "nats is out of space" in own_system.vestnik("status").stderr, "the status says it")
    finally:
        set_limits(opened)
    wait_until(lambda: not is_named(), "/readyz says that there is space")
    wait_until(lambda: register("in_time").status_code == 201, "a registration is accepted")
