"""Records of when processes end and become ready."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.faults.history import ProcessState
from tests.faults.processes import Processes
from tests.faults.recording import Recorder, read
from tests.rehearsal.cluster import Cluster
from tests.rehearsal.host import End


class _Hosts:
    """Hosts with exit codes, each ready or not."""

    def __init__(self, *names: str) -> None:
        self.hosts = {name: SimpleNamespace(ends=[]) for name in names}
        self.not_ready: set[str] = set()

    def ours(self) -> list[str]:
        return list(self.hosts)

    async def wait_ready(self, names: list[str]) -> None:
        if self.not_ready & set(names):
            raise ExceptionGroup("waited", [AssertionError("not ready")])


def states(folder: Path) -> list[tuple[str, str, int, bool]]:
    (history,) = read(folder)
    return [(state.process, state.state, state.exit_code, state.expected) for state in history.of(ProcessState)]


async def test_a_process_is_recorded_once_ready_and_again_after_each_end(tmp_path: Path) -> None:
    hosts = _Hosts("auth-1", "auth-2")
    with Recorder(tmp_path) as recorder:
        processes = Processes(cast(Cluster, hosts), recorder)
        await processes.look()
        await processes.look()
        hosts.hosts["auth-1"].ends += [End(-9, by_itself=False), End(0, by_itself=True)]
        await processes.look()
    assert states(tmp_path) == [
        ("auth-1", "ready", 0, False),
        ("auth-2", "ready", 0, False),
        ("auth-1", "ended", -9, True),
        ("auth-1", "ended", 0, False),
        ("auth-1", "ready", 0, False),
    ]


async def test_a_process_that_does_not_become_ready_is_recorded_so(tmp_path: Path) -> None:
    hosts = _Hosts("auth-1")
    with Recorder(tmp_path) as recorder:
        processes = Processes(cast(Cluster, hosts), recorder)
        await processes.look()
        hosts.not_ready.add("auth-1")
        with pytest.raises(ExceptionGroup):
            await processes.look()
    assert states(tmp_path)[-1] == ("auth-1", "not_ready", 0, False)


async def test_ends_before_a_process_was_ready_for_the_first_time_are_not_recorded(tmp_path: Path) -> None:
    hosts = _Hosts("auth-1")
    hosts.hosts["auth-1"].ends.append(End(1, by_itself=True))
    with Recorder(tmp_path) as recorder:
        await Processes(cast(Cluster, hosts), recorder).look()
    assert states(tmp_path) == [("auth-1", "ready", 0, False)]
