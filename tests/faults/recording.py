"""The files of a run's history: records as JSON lines, written as they happen, and read part by part.

`history/run.jsonl` in the run's folder has what concerns the whole run: faults, processes, mails, requests without a
session, and the final state. Each activity of the clients has a part of its own beside it, which no other shares users
or sessions with. So a part can be checked without the others, and a long run in the memory of its longest part.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tests.faults.history import AnyRecord, History

_FOLDER, _RUN = "history", "run"


class Recorder:
    """Appends records to one part of a run's history; for the use by one process."""

    def __init__(self, folder: Path, part: str = _RUN) -> None:
        self.path = folder / _FOLDER / f"{part}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = self.path.open("ab")
        self._encoder = msgspec.json.Encoder()
        self._parts: list[Recorder] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def part(self, name: str) -> "Recorder":
        """The recorder of an activity's own part; it is closed with this one."""
        self._parts.append(Recorder(self._folder, name))
        return self._parts[-1]

    def add(self, record: AnyRecord) -> None:
        self._file.write(self._encoder.encode(record) + b"\n")

    def flush(self) -> None:
        for file in (self._file, *(part._file for part in self._parts)):
            file.flush()

    def close(self) -> None:
        for part in self._parts:
            part.close()
        self._file.close()


def read(folder: Path) -> Iterator[History]:
    """Reads the parts of a run's history, that of the whole run first.

    A last line that was cut off by the end of its process is left out.
    """
    paths = sorted((folder / _FOLDER).glob("*.jsonl"), key=lambda path: (path.stem != _RUN, path.stem))
    with _no_garbage_collection():
        for path in paths:
            yield History(_records(path))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Histories have no cycles, and looking for cycles among millions of records takes longer than reading them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _records(path: Path) -> Iterator[AnyRecord]:
    decoder = msgspec.json.Decoder(AnyRecord)
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield decoder.decode(line)
