"""Tasks that nothing waits for: their failure is reported when it happens."""

import asyncio
from collections.abc import Callable, Coroutine


def start_reported(
    work: Coroutine[object, object, None], name: str, report: Callable[[str], None]
) -> "asyncio.Task[None]":
    """Starts the task; calls `report` with a line of text if it fails."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            report(f"the {name} failed: {error!r}")

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task
