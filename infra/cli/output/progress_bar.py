"""A progress bar with count, rate and time left."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_MEBIBYTE = 1024 * 1024
_MIB = "MiB"


class Bar:
    """A progress bar on a terminal; prints nothing elsewhere."""

    def __init__(self, console: Console, what: str, unit: str) -> None:
        """`unit`: what is counted, such as `events`; `MiB` counts bytes and shows MiB."""
        columns = (TextColumn("{task.description}"), BarColumn(), _Counted(unit), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def move(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


class _Counted(ProgressColumn):
    """A column with the count, the total and the rate."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit
        self._scale = _MEBIBYTE if unit == _MIB else 1

    def render(self, task: Task) -> Text:
        done, total = task.completed / self._scale, (task.total or 0) / self._scale
        return Text(f"{done:,.0f}/{total:,.0f} {self._unit} {(task.speed or 0) / self._scale:,.0f} {self._unit}/s")
