"""A process that cannot outlive this one: started through exec_wrapper.py or forked, output read or kept in a file."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

LAUNCHER = Path(__file__).with_name("exec_wrapper.py")
LONGEST_LINE = 256 * 1024
LAST_LINES_WITHIN = 2.0

Identity = Literal["same", "namespace", "nobody"]
OnLine = Callable[[str], None]


class Handle(Protocol):
    """The part of `asyncio.subprocess.Process` that is used here."""

    pid: int

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...

    def send_signal(self, signal: int) -> None: ...


class Child:
    """One running process. Every line of its output goes to `on_line`, or all of it into `log_file`."""

    def __init__(self, process: Handle, output: asyncio.StreamReader | None, on_line: OnLine | None) -> None:
        self._process = process
        self._on_line = on_line
        self._latest: deque[str] = deque(maxlen=20)
        self._reading = asyncio.create_task(self._read(output)) if output is not None else None

    @classmethod
    async def start(
        cls,
        program: Sequence[str],
        *,
        death_signal: signal.Signals,
        folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
        identity: Identity = "same",
        on_line: OnLine | None = None,
        log_file: Path | None = None,
        descriptors: Sequence[int] = (),
    ) -> "Child":
        """Starts the program in the folder. It inherits the descriptors, and gets `death_signal` if its parent dies."""
        output = log_file.open("ab") if log_file is not None else None
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(death_signal))),
                *(identity, *program),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output if output is not None else asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=folder,
                env=dict(environ) if environ is not None else None,
                pass_fds=descriptors,
                limit=LONGEST_LINE,
            )
        finally:
            if output is not None:
                output.close()
        return cls(process, process.stdout, on_line)

    @classmethod
    async def attach(cls, process: Handle, output: int, on_line: OnLine) -> "Child":
        """A process that runs already. `output`: descriptor of a pipe with its output, closed at the end."""
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", 0))
        return cls(process, reader, on_line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.returncode

    @property
    def latest_lines(self) -> list[str]:
        return list(self._latest)

    def send(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return  # it ended, and its exit has not been collected yet

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    async def wait(self) -> int:
        """Waits until it has ended and its output has been read; returns the exit code."""
        code = await self._process.wait()
        if self._reading is not None:  # a grandchild may hold the other end a little longer
            await asyncio.wait([self._reading], timeout=LAST_LINES_WITHIN)
            self._reading.cancel()
        return code

    async def stop(self, number: signal.Signals, patience: float) -> int:
        """Sends the signal, kills the process after `patience` seconds; returns the exit code."""
        self.send(number)
        try:
            async with asyncio.timeout(patience):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    async def _read(self, output: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await output.readline()
            except ValueError:
                continue  # longer than LONGEST_LINE: skipped
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._latest.append(text)
            if self._on_line is not None:
                self._on_line(text)


async def finish(program: Sequence[str], *, identity: Identity = "same", environ: Mapping[str, str]) -> tuple[int, str]:
    """Runs a program until it ends; returns its exit code and its last lines of output."""
    child = await Child.start(program, death_signal=signal.SIGKILL, identity=identity, environ=environ)
    try:
        code = await child.wait()
    except BaseException:
        child.kill()
        await child.wait()
        raise
    return code, "\n".join(child.latest_lines)
