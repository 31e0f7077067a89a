"""The progress of read models: count, rate, and time left or what is waited for, as bars or as JSON lines."""

import sys
import time
from types import TracebackType
from typing import Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from infra.cli.output.tables import literal
from projections.engine.rebuild.progress import Progress as Reached
from projections.engine.rebuild.progress import Report

_MINUTE, _HOUR = 60, 3_600
# Least seconds between two lines of one read model.
_LINE_SECONDS = 0.5


class Line(msgspec.Struct, frozen=True):
    projection: str
    progress: Reached


class Lines:
    """JSON lines on standard error, at most two per second and read model."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def add(self, name: str) -> Report:
        """Returns the function that writes the lines of one read model."""
        written = float("-inf")

        def move(reached: Reached) -> None:
            nonlocal written
            if time.monotonic() - written >= _LINE_SECONDS:
                written = time.monotonic()
                sys.stderr.write(msgspec.json.encode(Line(name, reached)).decode() + "\n")
                sys.stderr.flush()

        return move


class Bars:
    """One progress bar per read model on a terminal; prints nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:,.0f} events/s{task.fields[most]}"),
            TextColumn("{task.fields[left]}"),
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

    def add(self, name: str) -> Report:
        """Adds a bar; returns the function that moves it."""
        task = self._progress.add_task(name, total=None, rate=0.0, most="", left="")

        def move(reached: Reached) -> None:
            self._progress.update(
                task,
                completed=reached.events,
                total=reached.total,
                rate=reached.events_per_second,
                most="" if reached.most_per_second is None else f" of at most {reached.most_per_second:,}",
                left=_left(reached),
            )

        return move


def shown(console: Console, as_lines: bool) -> Bars | Lines:
    return Lines() if as_lines else Bars(console)


def _left(reached: Reached) -> str:
    return f"waits for {literal(reached.waits_for)}" if reached.waits_for else time_left(reached.seconds_left)


def time_left(seconds: float | None) -> str:
    """Formats seconds as `1 h 20 min left`, `3 min 20 s left`, `12 s left`; empty for None."""
    if seconds is None:
        return ""
    rounded = round(seconds)
    if rounded >= _HOUR:
        return f"{rounded // _HOUR} h {rounded % _HOUR // _MINUTE} min left"
    if rounded >= _MINUTE:
        return f"{rounded // _MINUTE} min {rounded % _MINUTE} s left"
    return f"{rounded} s left"
