"""What a process writes to standard error."""

import json
import subprocess
import sys

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
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_in_json_every_line_is_an_object_whatever_logs_warns_or_fails() -> None:
    lines = [json.loads(line) for line in run("json").splitlines()]
    assert {line["service"] for line in lines} == {"auth"}
    assert [line["logger"] for line in lines] == [
        *("uvicorn.error", "psycopg.pool", "py.warnings", "asyncio"),
        *("vestnik", "vestnik", "vestnik"),
    ]
    ends = [line.get("exception", line["message"]) for line in lines]
    for end, what in zip(
        ends, ("uvicorn", "psycopg", "warning", "task", "thread", "destructor", "process"), strict=True
    ):
        assert f"\n{what}" in end


def test_text_has_the_same() -> None:
    printed = run("text")
    for what in ("uvicorn", "psycopg", "warning", "task", "thread", "destructor", "process"):
        assert f"\n{what}" in printed
