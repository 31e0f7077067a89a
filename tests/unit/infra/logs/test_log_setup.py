"""What a process writes to standard error."""

import json
import subprocess
import sys
from pathlib import Path

from infra.security.secrets import Secrets

PROGRAM = """
import asyncio, logging, sys, threading, warnings
from infra.logs.log_setup import configure_logging
from infra.settings import Settings

class Broken:
    def __del__(self):
        raise ValueError("of a\\ndestructor")

async def failing():
    raise ValueError("of a\\ntask")

async def main():
    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    del task

def fail():
    raise ValueError("of a\\nthread")

configure_logging(Settings(log_format=sys.argv[1]), "auth")
logging.getLogger("uvicorn.error").warning("of\\nuvicorn")
logging.getLogger("psycopg.pool").warning("of\\npsycopg")
warnings.warn("of a\\nwarning")
asyncio.run(main())
thread = threading.Thread(target=fail)
thread.start()
thread.join()
broken = Broken()
del broken
raise ValueError("of the\\nprocess")
"""


def run(log_format: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (completed.returncode, completed.stdout) == (1, "")
    return completed.stderr


def test_in_json_every_line_is_an_object_whatever_logs_warns_or_fails() -> None:
    lines = [json.loads(line) for line in run("json").splitlines()]
    assert {line["service"] for line in lines} == {"auth"}
    assert [line["logger"] for line in lines] == [
        *("uvicorn.error", "psycopg.pool", "py.warnings", "asyncio"),
        *("vestnik", "vestnik", "vestnik"),
    ]
    ends = [line.get("exception", line["message"]) for line in lines]
    for end, source in zip(
        ends, ("uvicorn", "psycopg", "warning", "task", "thread", "destructor", "process"), strict=True
    ):
        assert f"\n{source}" in end


def test_text_logs_contain_the_same_sources() -> None:
    printed = run("text")
    for source in ("uvicorn", "psycopg", "warning", "task", "thread", "destructor", "process"):
        assert f"\n{source}" in printed


def test_every_process_with_the_key_writes_the_same_for_a_user(tmp_path: Path) -> None:
    program = """
import logging, sys
from pathlib import Path
from infra.logs.log_setup import configure_logging
from infra.rpc.call_context import Call, enter
from infra.settings import Settings
configure_logging(Settings(log_format="json", secrets_dir=sys.argv[1]), sys.argv[2])
enter(Call(request_id="r", actor="anna"))
logging.getLogger("of a call").warning("hello")
"""
    Secrets.create(tmp_path / "secrets")
    lines = []
    for folder, service in (("secrets", "auth"), ("secrets", "gateway"), ("none", "auth")):
        completed = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / folder), service], capture_output=True, text=True, check=True
        )
        lines.append(json.loads(completed.stderr))
    assert lines[0]["user"] == lines[1]["user"]
    assert len(lines[0]["user"]) == 32
    # Without the key a process starts too, and logs no digest of users.
    assert "user" not in lines[2]
