"""Updates the progress bars of a load and flushes its journal, a few times a second."""

import asyncio

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from infra.load.history_file import History
from infra.load.journal import Journal
from infra.load.report import Tally

_EVERY = 0.25


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


async def show(history: History, tally: Tally, journal: Journal, console: Console) -> None:
    """Draws the progress and flushes the journal until it is cancelled; then draws the last state."""
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, refresh_per_second=1 / _EVERY) as progress:
        people = progress.add_task("people", total=len(history.people))
        friendships = progress.add_task("friendships", total=len(history.conversations), start=False)
        messages = progress.add_task("messages", total=history.messages, start=False)

        def draw() -> None:
            progress.update(people, completed=tally.users)
            for task, count in ((friendships, tally.friendships), (messages, tally.messages)):
                if count and not progress.tasks[task].started:
                    progress.start_task(task)
                    progress.reset(task, completed=count)
                progress.update(task, completed=count)

        try:
            while True:
                draw()
                journal.flush()
                await asyncio.sleep(_EVERY)
        finally:
            draw()
