"""The bot of the how-to, as its reader runs it, against a system whose gateway dies and whose sessions are ended."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.documented_commands import blocks, typed
from tests.e2e.people import Api, Person, eventually
from tests.fix_system import ROOT, STOP_WITHIN, wait_until

ACCOUNT, START = blocks(ROOT / "docs" / "howto" / "write-a-bot.md")
LOGIN = ("echo", "a long secret")
SHOWN = ".venv/bin/python docs/examples/"


@contextmanager
def running(api: Api, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The bot, started as the page shows."""
    assert SHOWN in START
    command = START.replace(SHOWN, f"exec {sys.executable} {ROOT}/docs/examples/")
    environment = os.environ | {"URL": api.system.url, "PYTHONWARNINGS": "error"}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=environment, stdout=log, stderr=log, text=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def answered(anna: Person, bot: Person, *texts: str) -> None:
    """Checks that the bot answered each of the texts, once."""

    async def done() -> bool:
        messages = await anna.messages(bot, limit=200)
        return set(texts) <= {message["text"] for message in messages if message["sender_id"] == bot.user_id}

    await eventually(done, f"answers to {texts}")
    messages = await anna.messages(bot, limit=200)
    assert Counter(message["text"] for message in messages) == Counter(texts * 2)
    own, others = (
        [message["text"] for message in messages if (message["sender_id"] == bot.user_id) is mine]
        for mine in (True, False)
    )
    assert own == others, "answers come in the order of the messages"


async def test_the_bot_of_the_howto_answers_each_message_once_whatever_ends(own_api: Api, tmp_path: Path) -> None:
    await asyncio.to_thread(typed, own_api.system, ACCOUNT)
    session = (await own_api.log_in(*LOGIN)).json()
    account = {"user_id": session["user_id"], "username": LOGIN[0], "email": ""}
    bot = Person(own_api.http, account, session, own_api.sealed)
    anna = await own_api.person()
    position = tmp_path / "echo_bot.position"
    assert (await anna.add(bot)).status_code == 201
    with running(own_api, tmp_path) as process:

        async def accepted() -> bool:
            return bot.user_id in await anna.friends()

        async def noted() -> bool:
            return position.exists()

        await eventually(accepted, "the request that waited, accepted")
        await eventually(noted, "how far it is, written down")
        before = position.read_text()
        await anna.sends(bot, "one", "two")
        await answered(anna, bot, "one", "two")

        (gateway,) = own_api.system.serving("gateway")
        gateway.kill()
        await asyncio.to_thread(wait_until, lambda: not gateway.alive, "the gateway gone")
        await asyncio.to_thread(own_api.system.wait_ready)
        await anna.sends(bot, "three")
        await answered(anna, bot, "one", "two", "three")

        assert (await bot.ask("DELETE", "/v1/sessions")).status_code == 204
        await anna.sends(bot, "four")
        await answered(anna, bot, "one", "two", "three", "four")
        assert process.poll() is None, (tmp_path / "log").read_text()

        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, STOP_WITHIN) == 0, (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    assert log.endswith("stopped\n")
    assert "Traceback" not in log
    sessions = (await bot.get("/v1/sessions")).json()["items"]
    assert [item["session_id"] for item in sessions] == [bot.session_id], "it has logged out"

    # As if it had died before it could write down how far it was: everything comes to it again.
    position.write_text(before)
    await anna.sends(bot, "five")
    with running(own_api, tmp_path):
        await answered(anna, bot, "one", "two", "three", "four", "five")
