"""The whole system as an operator runs it: `vestnik up` as a process, one per test session and number of replicas."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from psycopg import conninfo, sql

from infra.embedded.ports import free_port
from infra.embedded.postgres_server import USER
from infra.runtime.run_file import NotRunning, find
from infra.security.secrets import Secrets
from tests.command_server import run_command
from tests.processes import Process, family
from tests.suite.scheduling import unit_of

ROOT = Path(__file__).parents[1]
# Seconds; a shared machine is slow to start a dozen processes.
START_WITHIN = 120.0
STOP_WITHIN = 60.0
_CONNECTIONS = 16
# Seconds between two checks of a condition: at first, and after a long wait.
_PAUSE, _LONGEST_PAUSE = 0.05, 0.25
SETTINGS = {"VESTNIK_BCRYPT_COST": "4", "VESTNIK_RATE_LIMITS": "off"}


def wait_until(condition: Callable[[], bool], what: str, *, within: float = 60.0) -> None:
    """Polls until the condition holds; fails with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    pause = _PAUSE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {within:.0f} s")
        time.sleep(pause)
        # What takes longer is slow because the processors are busy; checks would keep them busier.
        pause = min(1.25 * pause, _LONGEST_PAUSE)


class System:
    """One data directory and the process that runs it; it may be stopped, killed and restarted."""

    def __init__(
        self, data_dir: Path, *, replicas: int = 1, settings: Mapping[str, str] | None = None, root: Path = ROOT
    ) -> None:
        self.data_dir = data_dir
        # The source tree that runs; may differ from the tree of the tests.
        self.root = root
        self.replicas = replicas
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.settings = {**SETTINGS, "VESTNIK_REPLICAS": str(replicas), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._known: set[Process] = set()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command for this system, without the caller's own settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VESTNIK_")}
        own_settings = {"VESTNIK_DATA_DIR": str(self.data_dir), "VESTNIK_PORT": str(self.port)}
        if self.root != ROOT:
            own_settings["PYTHONPATH"] = str(self.root)
        return {**inherited, **self.settings, **own_settings}

    def start(self) -> None:
        """Starts the system; returns when the gateway reports that everything is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli.main", "up"],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_ready()

    def wait_ready(self, within: float = START_WITHIN) -> None:
        def ready() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                pytest.fail(f"`vestnik up` ended with {self._process.returncode}:\n{self.log_tail()}")
            return self.is_ready() and self._is_announced()

        try:
            wait_until(ready, "the system ready", within=within)
        except pytest.fail.Exception as error:
            pytest.fail(f"{error}\n{self.log_tail()}")
        self.processes()

    def is_ready(self) -> bool:
        """Whether every gateway reports ready; with several, many connections reach each of them."""
        times = 1 if self.replicas == 1 else _CONNECTIONS
        no_keepalive = httpx.Limits(max_keepalive_connections=0)
        try:
            with httpx.Client(timeout=5, verify=False, limits=no_keepalive) as http:
                return all(http.get(f"{self.url}/readyz").status_code == 200 for _ in range(times))
        except httpx.TransportError:
            return False

    def _is_announced(self) -> bool:
        """Whether commands find the system, which happens shortly after the gateway is ready."""
        try:
            return find(self.data_dir).pid > 0
        except NotRunning:
            return False

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def interrupt(self) -> int:
        """Sends Ctrl-C to the whole process group, as a terminal does; returns the exit code."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(STOP_WITHIN)

    def kill_supervisor(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_WITHIN)

    def kill_everything(self) -> None:
        """Sends SIGKILL to every process, the servers included, and waits until all are gone."""
        for process in self.processes():
            process.kill()
        assert self._process is not None
        self._process.wait(STOP_WITHIN)
        wait_until(lambda: not self.alive(), "every process gone", within=STOP_WITHIN)

    def stop(self) -> None:
        """Ends all processes at the end of a test, whatever state it left."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for process in self.alive():
            process.kill()

    def processes(self) -> list[Process]:
        """Every live process of the system; they are remembered for `alive`."""
        assert self._process is not None
        if self._process.poll() is None:
            self._known |= family(self._process.pid)
        return self.alive()

    def alive(self) -> list[Process]:
        """The processes seen so far that have not ended."""
        return [process for process in self._known if process.alive]

    def serving(self, service: str) -> list[Process]:
        """The processes of one service, or of one of the servers `nats` and `postgres`."""
        return [process for process in self.processes() if _is(service, process)]

    def database_url(self) -> str:
        """The database URL with the operator's login."""
        return find(self.data_dir).database_url

    def superusers_database_url(self) -> str:
        parts = urlsplit(self.database_url())
        password = Secrets.load(self.data_dir / "secrets").postgres_password
        return urlunsplit(parts._replace(netloc=f"{USER}:{password}@{parts.hostname}:{parts.port}"))

    def drop_database(self) -> None:
        """Drops the database and closes all connections to it."""
        url = self.superusers_database_url()
        name = conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(conninfo.make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name))))

    def vestnik(self, *arguments: str, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs a `vestnik` command to its end."""
        if self.root == ROOT:
            return run_command(arguments, self.environment, within=within)
        return subprocess.run(
            [sys.executable, "-m", "infra.cli.main", *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def log_tail(self, lines: int = 80) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"


def _is(service: str, process: Process) -> bool:
    command = process.command
    match service:
        case "nats":
            return bool(command) and command[0].endswith("nats-server")
        case "postgres":
            # Only the postmaster: its children have titles such as `postgres: checkpointer`.
            return bool(command) and command[0].endswith("/postgres")
    return command[-2:] == ["serve", service]


# The systems of session fixtures, by the fixture's name and the number of replicas.
_shared: dict[tuple[str, int], System] = {}


@contextmanager
def shared(fixture: str, system: System, *, started: bool = True) -> Iterator[System]:
    """The system of a session fixture. The hooks below stop it before the session ends, if they can."""
    try:
        if started:
            system.start()
        _shared[fixture, system.replicas] = system
        yield system
    finally:
        _shared.pop((fixture, system.replicas), None)
        system.stop()


def _needed(item: pytest.Item, fixture: str, replicas: int) -> bool:
    """Whether the test uses the fixture's system with that number of replicas."""
    assert isinstance(item, pytest.Function)
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return fixture in item.fixturenames and parameters.get(fixture, replicas) == replicas


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Starts a shared system again that was stopped after an earlier unit."""
    for (fixture, replicas), system in _shared.items():
        if not system.running and _needed(item, fixture, replicas):
            system.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Stops shared systems when another is used next or a unit ends: an idle system takes processor time, too."""
    yield
    if "PYTEST_XDIST_WORKER" in os.environ and nextitem:
        needed = [name for name in _shared if _needed(nextitem, *name)]
        if needed or unit_of(nextitem.nodeid) != unit_of(item.nodeid):
            for name, system in _shared.items():
                if name not in needed:
                    system.stop()


# Two replicas take every path that one takes, and those between the two. A system of one, as `vestnik up` starts it,
# runs in the tests marked below, in those of the browser, and in all that have a system of their own.
@pytest.fixture(scope="session", params=[2], ids=["two-replicas"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system shared by many tests, which must not stop it or depend on each other's users."""
    with shared("system", System(tmp_path_factory.mktemp("system") / "data", replicas=request.param)) as system:
        yield system


# For a test to which a second replica can add nothing: of a command that asks only NATS and PostgreSQL, of input that
# is refused for its form or its token, or of an answer that depends on nothing that another process has in memory.
one_replica = pytest.mark.parametrize("system", [1], ids=["one-replica"], indirect=True)


@pytest.fixture(scope="session", params=[1, 2], ids=["one-replica", "two-replicas"])
def fragile_system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system whose parts the tests kill; each test leaves it ready."""
    folder = tmp_path_factory.mktemp("fragile")
    with shared("fragile_system", System(folder / "data", replicas=request.param)) as system:
        yield system


@pytest.fixture(scope="session", params=[1], ids=["own-system"])
def stopped_system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system, not started yet, that `own_system` starts. Its parameter makes all its tests one unit of a run."""
    folder = tmp_path_factory.mktemp("own")
    with shared("stopped_system", System(folder / "data", replicas=request.param), started=False) as system:
        yield system


@pytest.fixture
def own_system(stopped_system: System) -> System:
    """A running system for tests that stop it or change its data by hand; it is restarted if a test left it stopped."""
    if not stopped_system.running:
        stopped_system.start()
    return stopped_system


@pytest.fixture
def fresh_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running, empty system for a test that damages its data or needs its whole log."""
    system = System(tmp_path_factory.mktemp("fresh") / "data")
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the system's log to the report of a failed test."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, System):
                report.sections.append((f"log of `vestnik up` ({value.log})", value.log_tail()))
    return report
