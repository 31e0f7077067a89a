"""A person writes wherever personal data can be written, and is erased: no file has any of it afterwards.

docs/howto/prove-an-erasure.md shows the same.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
import pytest
import pytest_asyncio

from infra.archive.format.archive_reader import Reader
from infra.archive.format.errors import Damage
from tests.e2e.conftest import client
from tests.e2e.people import Api, Json, Person, eventually, items
from tests.e2e.test_data_exports import ask, download
from tests.e2e.traces import Traces
from tests.fix_system import ROOT, System

# Seconds: 90 after the keys are destroyed no process uses them any more, and a sweep notes it.
ERASED_WITHIN = 300


class Written(msgspec.Struct, frozen=True):
    """What the person leaves behind, each text once and nowhere else."""

    name: str
    display_name: str
    bio: str
    avatar: str
    password: str
    device: str
    failed_device: str
    message: str
    edited: str
    reported: str
    comment: str
    draft: str

    @classmethod
    def new(cls) -> "Written":
        return cls(*(f"zq{uuid4().hex[:14]}" for _ in cls.__struct_fields__))

    @property
    def texts(self) -> list[str]:
        return [str(getattr(self, name)) for name in self.__struct_fields__]


@pytest.fixture
def erasing_system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "data", settings={"VESTNIK_ERASURE_GRACE_DAYS": "0"})
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest_asyncio.fixture
async def erasing(erasing_system: System) -> AsyncIterator[Api]:
    async with client(erasing_system) as http:
        yield Api(erasing_system, http)


async def run(api: Api, *arguments: str) -> str:
    done = await asyncio.to_thread(api.system.vestnik, *arguments, within=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def events(api: Api, *arguments: str) -> list[Json]:
    return [msgspec.json.decode(line) for line in (await run(api, "events", *arguments, "--json")).splitlines()]


async def write_everywhere(api: Api, anna: Person, friend: Person, written: Written) -> str:
    """Returns the id of one of the events."""
    profile = {"display_name": written.display_name, "bio": written.bio}
    profile["avatar_url"] = f"https://example.org/{written.avatar}.png"
    assert (await anna.ask("PATCH", "/v1/profiles/me", json=profile)).status_code == 200
    device = await api.log_in(anna.email, written.password, device=written.device)
    assert device.status_code == 201, device.text
    assert (await api.log_in(anna.email, "wrong", device=written.failed_device)).status_code == 401
    first, second, third = await anna.sends(friend, written.message, "to be edited", written.reported)
    assert (await anna.edit(friend, second["message_id"], written.edited)).status_code == 200
    [answer] = await friend.sends(anna, "an answer that stays")
    path = f"/v1/conversations/{friend.user_id}/messages"
    await anna.ask("PUT", f"{path}/{answer['message_id']}/reaction", json={"emoji": "👍"})
    body = {"text": "a quote", "client_message_id": uuid4().hex, "reply_to": first["message_id"]}
    assert (await friend.ask("POST", f"/v1/conversations/{anna.user_id}/messages", json=body)).status_code == 201
    drafted = await anna.ask("PATCH", f"/v1/conversations/{friend.user_id}", json={"draft": written.draft})
    assert drafted.status_code in {200, 204}, drafted.text
    for reporter, reported, comment, message in (
        (anna, friend, written.comment, answer),
        (friend, anna, "reported by a friend", third),
    ):
        report = {"user_id": reported.user_id, "reason": "spam", "message_ids": [message["message_id"]]}
        response = await reporter.ask("POST", "/v1/reports", json={**report, "comment": comment})
        assert response.status_code in {200, 201, 202}, response.text

    # An operator looks for the person by name.
    assert written.name in await run(api, "audit", "sessions", "--user", written.name)

    async def searchable() -> bool:
        hits = items(await friend.get("/v1/messages", params={"query": written.message}))
        return len(hits) == 1

    await eventually(searchable, "the search finds the message")
    conversation_id = first["conversation_id"]
    [sent, *_] = await events(api, "--type", "message.sent", "--id", conversation_id)
    assert sent["data"]["text"] == written.message
    return str(sent["id"])


async def proof_of(api: Api, event_id: str, folder: Path) -> None:
    """Writes a proof of the event, and heads that cover all events so far, as an outsider keeps them."""

    async def proved() -> bool:
        heads = (await api.http.get("/.well-known/vestnik/heads")).raise_for_status()
        (folder / "heads.json").write_bytes(heads.content)
        done = await asyncio.to_thread(
            api.system.vestnik, "audit", "prove", event_id, "--heads", str(folder / "heads.json")
        )
        (folder / "proof.json").write_text(done.stdout)
        return done.returncode == 0

    await eventually(proved, "a head covers the event", within=120, every=1)


def proof_holds(folder: Path) -> bool:
    command = [sys.executable, "-I", str(ROOT / "docs/examples/verify_proof.py"), "proof.json", "heads.json"]
    done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.startswith("The proof holds.")


def turn_of_the_database(system: System) -> None:
    """Writes all tables anew without dead rows, statistics included, and removes all WAL from before."""
    with psycopg.connect(system.superusers_database_url(), autocommit=True) as database:
        database.execute("ALTER SYSTEM SET wal_recycle = off")
        database.execute("SELECT pg_reload_conf()")
        # Twice: the statistics of the first pass are in the tables of the second.
        for _ in range(2):
            database.execute("VACUUM (FULL, ANALYZE)")
        files = database.execute("SELECT count(*) FROM pg_ls_waldir()").fetchone()
        assert files is not None
        # Files that were recycled before are used up.
        for _ in range(files[0] + 1):
            database.execute("SELECT pg_logical_emit_message(false, 'turn', 'turn')")
            database.execute("SELECT pg_switch_wal()")
            database.execute("CHECKPOINT")


def unpacked(path: Path, folder: Path) -> None:
    """Writes the events of an export as they are stored, one file a stream."""
    damages: list[Damage] = []
    archive = Reader.open(path)
    try:
        for block in archive.blocks(damages.append):
            with (folder / f"{block.stream}.events").open("ab") as file:
                for event in block.events:
                    file.write(msgspec.json.encode([event.subject, event.headers]) + event.payload + b"\n")
    finally:
        archive.close()
    assert not damages


async def test_of_an_erased_person_no_file_has_a_text(erasing: Api, tmp_path: Path) -> None:
    api, written, system = erasing, Written.new(), erasing.system
    anna = await api.person(username=written.name, email=f"{written.name}@example.org", password=written.password)
    friend = await api.person()
    await api.befriend(anna, friend)
    event_id = await write_everywhere(api, anna, friend, written)
    copy = await download(anna, await ask(anna))
    traces = Traces(written.texts)
    # The search finds what there is.
    assert traces.within(copy.read(f"conversations/{friend.user_id}.json")) >= {written.message, written.edited}
    before = set[str]().union(*traces.files(system.data_dir).values())
    assert before >= {written.name, written.bio, written.display_name, written.message, written.device}
    assert written.password not in before
    await proof_of(api, event_id, tmp_path)

    deleted = await anna.ask("DELETE", "/v1/users/me", json={"password": written.password})
    assert deleted.status_code == 202, deleted.text

    async def complete() -> bool:
        return bool(await events(api, "--type", "user.erasure_completed", "--id", anna.user_id))

    await eventually(complete, "the erasure is complete", within=ERASED_WITHIN, every=3)
    # What others see.
    assert (await api.log_in(anna.email, written.password)).status_code == 401
    texts = {message["text"] for message in await friend.messages(anna)}
    assert texts == {"", "an answer that stays", "a quote"}
    assert items(await friend.get("/v1/messages", params={"query": written.message})) == []
    friends_copy = await download(friend, await ask(friend))
    for name in friends_copy.namelist():
        assert not traces.within(friends_copy.read(name)), name

    assert written.name not in await run(api, "audit", "sessions", "--user", written.name)

    # Everything still holds: read models, the audit, and a proof from before.
    await run(api, "verify")
    await run(api, "audit", "verify", "--from", str(tmp_path / "heads.json"))
    assert proof_holds(tmp_path)
    (tmp_path / "unpacked").mkdir()
    await run(api, "export", str(tmp_path / "export"), "--reason", "a test")
    unpacked(tmp_path / "export", tmp_path / "unpacked")
    await run(api, "keys", "back-up", str(tmp_path / "keys"), "--reason", "a test")
    assert event_id.encode() in (tmp_path / "unpacked" / "MESSAGING.events").read_bytes()

    await asyncio.to_thread(turn_of_the_database, system)
    running = traces.files(system.data_dir, system.log, tmp_path)
    assert running == {}
    system.stop()
    assert traces.files(tmp_path) == {}
