"""One host: a network namespace with its links, and the program that runs in it, restarted as its container would be.

The namespace lives as long as its first process, which ends with the rehearsal however that ends, so nothing is left
behind. The program has mounts of its own.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

ENTER = Path(__file__).with_name("enter_host.py")
_PAUSE = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()"
# Seconds before the first restart; doubled with each, up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
# What is shown of each log after a failure.
_LAST_LINES, _LONGEST_LINE = 15, 400


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What runs on a host."""

    command: Sequence[str]
    environment: Mapping[str, str]
    # Source, target, whether it is read-only.
    mounts: Sequence[tuple[str, str, bool]] = ()
    tmpfs: Sequence[str] = ()
    # 0: root.
    user: int = 0
    group: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within: float = 30.0
    # Whether it is started again after it ended: always, on failure, never.
    restart: str = "no"


class End(msgspec.Struct, frozen=True):
    """How a program ended."""

    code: int
    # Whether nobody stopped or killed it, or it answered a stop with an error.
    by_itself: bool


class Host:
    def __init__(self, name: str, program: Program, folder: Path, resolv_conf: Path) -> None:
        self.name = name
        self.program = program
        self.log_file = folder / f"{name}.log"
        # What other commands on the host print to standard error while their output is read.
        self.errors_file = folder / f"{name}.errors.log"
        self.restarts = 0
        # Of programs that ended by themselves, were stopped or crashed, not of those that `kill` ended.
        self.ends: list[End] = []
        self._resolv_conf = resolv_conf
        self._namespace: asyncio.subprocess.Process | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = False
        self._is_crashed = False
        self._keeper: asyncio.Task[None] | None = None
        # Held while a process is started that is not known yet.
        self._launching = asyncio.Lock()

    @property
    def exit_codes(self) -> list[int]:
        return [end.code for end in self.ends]

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Pid of the program, which may have ended."""
        assert self._process is not None
        return self._process.pid

    @property
    def network(self) -> int:
        """The pid of a process in the network namespace."""
        assert self._namespace is not None
        return self._namespace.pid

    async def open(self) -> None:
        """Makes the network namespace; it has no link yet."""
        specification = {"network": 0, "mounts": [], "resolv_conf": "", "tmpfs": [], "user": 0, "group": 0}
        self._namespace = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(ENTER), json.dumps({**specification, "death_signal": signal.SIGKILL})),
            *(sys.executable, "-I", "-S", "-c", _PAUSE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._namespace.stdout is not None
        line = await self._namespace.stdout.readline()
        assert line == b"ready\n", f"{self.name} has no namespace"

    async def close(self) -> None:
        """Kills everything on the host."""
        self._wanted = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._namespace is not None:
            self._kill_all()
            if self._process is not None:
                await self._process.wait()
            self._namespace.kill()
            await self._namespace.wait()

    async def start(self) -> None:
        """Starts the program, and starts it again whenever its container would be."""
        if self._wanted:
            return
        self._wanted = True
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> int:
        """Stops the program as its container would be stopped; returns the exit code."""
        self._wanted = False
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(self.program.stop_signal)
        try:
            async with asyncio.timeout(self.program.stop_within):
                code = await self._process.wait()
        except TimeoutError:
            self._kill_all()
            code = await self._process.wait()
        await self._ended()
        self.ends.append(End(code, by_itself=code not in (0, -signal.SIGKILL)))
        return code

    async def kill(self) -> None:
        """Ends every process of the host at once, as a power failure does, until `start`."""
        async with self._launching:
            self._wanted = False
            self._kill_all()
        assert self._process is not None
        await self._process.wait()
        await self._ended()

    async def crash(self) -> None:
        """Ends every process of the host at once; the program is started again as its container would be."""
        async with self._launching:
            self._is_crashed = True
            self._kill_all()

    async def wait(self) -> int:
        """Waits until a program that ends by itself has succeeded, or is not started again."""
        assert self._keeper is not None
        await asyncio.shield(self._keeper)
        return self.exit_codes[-1]

    async def run(
        self,
        *command: str,
        environment: Mapping[str, str] | None = None,
        program: Program | None = None,
        with_errors: bool = True,
        output: Path | None = None,
    ) -> tuple[int, str]:
        """Runs another command on the host, with its program's mounts and settings; returns exit code and output.

        `program`: whose mounts and settings to use in place of those; `with_errors`: whether the output has what goes
        to standard error, which is in `errors_file` otherwise; `output`: a file that gets it instead.
        """
        with self.errors_file.open("ab") as file, (output or Path(os.devnull)).open("wb") as results:
            errors = asyncio.subprocess.STDOUT if with_errors else file.fileno()
            target = asyncio.subprocess.PIPE if output is None else results.fileno()
            process = await self._spawn(command, target, environment or {}, program, errors)
        printed, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, (printed or b"").decode(errors="replace")

    def last_lines(self) -> list[str]:
        """The ends of the host's logs, for a report of a failure."""
        lines = [f"--- {self.name}: exit codes {self.exit_codes}, {self.restarts} restarts"]
        for path in (self.log_file, self.errors_file):
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return [line[:_LONGEST_LINE] for line in lines]

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to every process of the host, such as SIGSTOP and SIGCONT."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def pids(self) -> list[int]:
        """The processes of the host, without the one that keeps the namespace and without those that have ended."""
        own = os.stat(f"/proc/{self.network}/ns/net").st_ino
        # Just after its start the program has not entered the namespace yet.
        program = self.pid if self.is_running else 0
        pids = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self.network:
                continue
            try:
                state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
                is_here = int(entry) == program or os.stat(f"/proc/{entry}/ns/net").st_ino == own
                if state not in "ZX" and is_here:
                    pids.append(int(entry))
            except OSError:
                continue
        return pids

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            assert self._process is not None
            code = await self._process.wait()
            if not self._wanted:
                return
            self.ends.append(End(code, by_itself=not self._is_crashed))
            again = self.program.restart in ("always", "unless-stopped") or (
                self.program.restart == "on-failure" and code != 0
            )
            if not again:
                self._wanted = False
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            if not self._wanted:
                return
            self.restarts += 1
            await self._launch()

    async def _ended(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _launch(self) -> None:
        async with self._launching:
            self._is_crashed = False
            with self.log_file.open("ab") as log:
                log.write(f"--- {' '.join(self.program.command)}\n".encode())
                log.flush()
                self._process = await self._spawn(self.program.command, log.fileno(), {})

    async def _spawn(
        self,
        command: Sequence[str],
        output: int,
        environment: Mapping[str, str],
        program: Program | None = None,
        errors: int = asyncio.subprocess.STDOUT,
    ) -> asyncio.subprocess.Process:
        program = program or self.program
        variables = {**program.environment, **environment}
        specification = {
            "network": self.network,
            "mounts": program.mounts,
            "resolv_conf": str(self._resolv_conf),
            "tmpfs": program.tmpfs,
            "user": program.user,
            "group": program.group,
            "death_signal": signal.SIGKILL,
            "preload": variables.pop("LD_PRELOAD", ""),
        }
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(ENTER), json.dumps(specification), *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd="/",
            env=variables,
        )

    def _kill_all(self) -> None:
        # A process may start another one meanwhile.
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
