"""The data directory: one system at a time, and nothing in it or in the log that others may not see."""

import asyncio
import json
import signal
from pathlib import Path
from uuid import uuid4

from tests.e2e.people import Api, eventually
from tests.e2e.poison import poisoned
from tests.fix_system import System, one_replica, wait_until


@one_replica
async def test_two_cannot_have_the_same_data_directory(api: Api) -> None:
    second = api.system.vestnik("up", "--port", "0")
    assert second.returncode != 0
    assert len(second.stderr.strip().splitlines()) == 1, second.stderr
    assert api.system.is_ready()


async def test_no_secret_is_in_the_log_or_in_an_event(api: Api) -> None:
    system = api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "hello")
    token = await api.mailed_token(anna.email)
    events = system.vestnik("events", "--json")
    assert events.returncode == 0, events.stderr
    texts = {"the log": system.log.read_text(), "the events": events.stdout}
    secrets = ["correct horse battery", "$2b$", token, anna.access_token, anna.refresh_token]
    for name, text in texts.items():
        for secret in secrets:
            assert secret not in text, f"{secret!r} in {name}"
    private = [json.loads(line) for line in events.stdout.splitlines() if '"credential.set"' in line]
    assert private
    assert all(event["data"] is None for event in private)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_is_secret_on_disk_is_its_owners_alone(api: Api) -> None:
    folder = api.system.data_dir
    for path in [folder / "run.json", *files(folder / "secrets")]:
        assert path.stat().st_size == 0 or path.stat().st_mode & 0o077 == 0, path


async def command(system: System, *arguments: str, code: int = 0) -> str:
    done = await asyncio.to_thread(system.vestnik, *arguments, within=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


async def a_day(api: Api) -> None:
    """Concurrent and repeated requests of users, a message that is not an event, and an operator's commands."""
    system = api.system
    anna, boris, clara = await api.people(3)
    await asyncio.gather(api.befriend(anna, boris), api.befriend(clara, anna))
    sent = [
        (one, other, uuid4().hex) for one, other in ((anna, boris), (boris, anna), (clara, anna)) for _ in range(40)
    ]
    for _ in range(2):
        await asyncio.gather(*(one.write(other, "hello", client_message_id) for one, other, client_message_id in sent))
    await poisoned(api, anna, boris)

    async def dead_letter_id() -> str:
        listed = await command(system, "dead-letters", "list", "conversations", "--json")
        return str(json.loads(listed.splitlines()[0])["id"]) if listed else ""

    await command(system, "dead-letters", "retry", "--id", await eventually(dead_letter_id, "a dead letter"), code=1)
    await asyncio.gather(
        command(system, "rebuild", "--all"),
        command(system, "verify", "sessions", "users"),
        *(clara.write(anna, "meanwhile") for _ in range(100)),
    )
    await command(system, "dead-letters", "discard", await dead_letter_id(), "--reason", "written by a test")
    await command(system, "rebuild", "conversations", "--back")
    await command(system, "dead-letters", "retry", code=1)
    await command(system, "verify")
    await asyncio.gather(anna.sees(boris, 1), boris.sees(anna, 40), anna.remove(clara))
    for process in system.serving("gateway"):
        process.send(signal.SIGTERM)
    await asyncio.to_thread(wait_until, system.is_ready, "a gateway again")


async def test_a_first_start_a_day_and_a_second_start_log_no_error(fresh_api: Api) -> None:
    system = fresh_api.system
    await a_day(fresh_api)
    await asyncio.to_thread(system.interrupt)
    await asyncio.to_thread(system.start)
    log = system.log.read_text(errors="replace")
    serious = ("ERROR", "CRITICAL", "FATAL", "PANIC")
    serious_lines = [line for line in log.splitlines() if any(word in line for word in serious)]
    # The gateway could not tell anybody of the event that is none.
    assert [line for line in serious_lines if "cannot be delivered" not in line] == []
