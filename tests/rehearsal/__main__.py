"""Rehearses a deployment: `./just rehearse`. Exit code 0 also where this machine lacks what it needs, which it says."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rehearsal import enter_host
from tests.rehearsal.cluster import missing

if TYPE_CHECKING:
    from tests.rehearsal.scenario import Rehearsal

INTERRUPTED = 130


def main() -> None:
    parser = argparse.ArgumentParser(prog="./just rehearse", description="Rehearses what compose.yaml describes.")
    parser.add_argument("--folder", type=Path, help="An empty folder to keep all logs and data in.")
    parser.add_argument("--seconds", type=float, default=900.0, help="The longest that it may take.")
    options = parser.parse_args()
    if lacking := missing():
        print(f"rehearsal skipped: this machine lacks {', '.join(lacking)}")  # noqa: T201
        return
    with tempfile.TemporaryDirectory(prefix="rehearsal-", ignore_cleanup_errors=True) as temporary:
        folder = options.folder or Path(temporary)
        enter_host.new_machine(folder)
        from tests.rehearsal.scenario import Rehearsal

        sys.exit(asyncio.run(_bounded(Rehearsal(folder), options.seconds)))


async def _bounded(rehearsal: "Rehearsal", seconds: float) -> int:
    task = asyncio.create_task(rehearsal.run(seconds))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        print("rehearsal stopped", flush=True)  # noqa: T201
        return INTERRUPTED


if __name__ == "__main__":
    main()
