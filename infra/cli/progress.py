"""A progress bar a read model: how far, how fast, how long still."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from projections.engine.rebuild import Progress as Reached


class Bars:
    """Shown on a terminal alone; elsewhere nothing is printed."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:,.0f} events/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def add(self, name: str) -> Callable[[Reached], None]:
        """Adds a bar; what it returns moves it."""
        task = self._progress.add_task(name, total=None, rate=0.0)

        def move(reached: Reached) -> None:
            self._progress.update(task, completed=reached.events, total=reached.total, rate=reached.events_per_second)

        return move
