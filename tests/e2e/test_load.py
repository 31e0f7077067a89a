"""`vestnik load` against a running system, with a part of the recorded history."""

import gzip
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from infra.load.history_file import read_history
from infra.load.identities import Namespace
from tests.e2e.people import Api, Json, Person
from tests.fix_system import ROOT, System, one_replica, wait_until

# Conversations of several messages each, and few people: each is registered, and logs in again and again.
MESSAGES, PEOPLE = 150, 24


@pytest.fixture(scope="module")
def recorded() -> Path:
    path = ROOT.parent / "shared" / "data" / "messages.tsv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture
def history(recorded: Path, system: System, tmp_path: Path) -> Path:
    """The first messages among those who write most, in a file of the test's own; other contents mean other users."""
    header, *lines = gzip.decompress(recorded.read_bytes()).split(b"\n")[:2_000]
    written = Counter(name for line in lines for name in line.split(b"\t")[:2])
    people = {name for name, _ in written.most_common(PEOPLE)}
    among_them = [line for line in lines if people.issuperset(line.split(b"\t")[:2])][:MESSAGES]
    path = tmp_path / "history.tsv"
    path.write_bytes(b"\n".join([header, *among_them, f"1\t2\t1\t{tmp_path}".encode()]) + b"\n")
    return path


def load(system: System, history: Path, *options: str) -> tuple[Json, int]:
    done = system.vestnik("load", str(history), "--json", *options, within=120)
    assert done.stdout, done.stderr
    report: Json = json.loads(done.stdout)
    return report, done.returncode


def begun(system: System, history: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", "load", str(history), "--json", *options],
        cwd=ROOT,
        env=system.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


async def assert_arrived(api: Api, path: Path) -> None:
    """Asserts that every message of the file is stored once, in the order of its conversation."""
    history = read_history(path)
    namespace = Namespace(history.digest)
    people: dict[str, Person] = {}
    for name in history.people:
        identity = namespace.identity(name)
        session = (await api.log_in(identity.email, identity.password)).json()
        account = {"user_id": session["user_id"], "username": identity.username, "email": identity.email}
        people[name] = Person(api.http, account, session, api.sealed)
    for (one, other), lines in history.conversations.items():
        read = await people[one].messages(people[other], after=0, limit=200)
        written = [(people[line.sender].user_id, line.text) for line in lines]
        assert [(message["sender_id"], message["text"]) for message in read] == written


async def test_a_history_arrives_and_arrives_once(api: Api, history: Path) -> None:
    expected = read_history(history)
    report, code = load(api.system, history)
    assert code == 0, report
    assert report["errors"] == 0
    assert (report["users"], report["friendships"]) == (len(expected.people), len(expected.conversations))
    assert (report["messages"], report["conversations"]) == (MESSAGES + 1, len(expected.conversations))
    assert report["rate"] > 0
    assert 0 < report["p50_ms"] <= report["p99_ms"]
    await assert_arrived(api, history)

    again, code = load(api.system, history)
    assert (code, again["sent"], again["messages"]) == (0, 0, MESSAGES + 1)

    forgotten, code = load(api.system, history, "--state", str(history.parent / "another-state"))
    assert (code, forgotten["repeated"], forgotten["sent"]) == (0, MESSAGES + 1, MESSAGES + 1)
    await assert_arrived(api, history)


@one_replica
async def test_a_stopped_load_goes_on_where_it_was(api: Api, history: Path) -> None:
    expected = read_history(history)
    state = history.parent / "state.jsonl"
    with begun(api.system, history, "--state", str(state), "--in-flight", "2") as running:
        wait_until(lambda: state.exists() and b'"sent"' in state.read_bytes(), "the first messages sent", within=60)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    first = json.loads(output)
    assert first["stopped"]
    assert 0 < first["messages"] < expected.messages
    second, code = load(api.system, history, "--state", str(state))
    assert code == 0, second
    assert first["sent"] + second["sent"] == expected.messages
    assert second["repeated"] == 0
    await assert_arrived(api, history)


@one_replica
def test_what_cannot_be_loaded_is_one_clear_line(system: System, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text("sender\trecipient\tunix_time\ttext\na\tb\tc\n")
    good = tmp_path / "good.tsv"
    good.write_text("sender\trecipient\tunix_time\ttext\na\tb\t1\thello\n")
    for arguments, reason in [
        ([str(tmp_path / "missing.tsv")], "missing.tsv"),
        ([str(bad)], "line 2: has 3 fields"),
        ([str(good), "--url", "http://127.0.0.1:1"], "Cannot reach the gateway"),
    ]:
        done = system.vestnik("load", *arguments)
        assert done.returncode == 1
        assert reason in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
