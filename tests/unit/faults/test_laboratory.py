"""How a run of the laboratory ends: within its time, and with logs."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.faults.clients.traffic import Plan
from tests.faults.laboratory import Laboratory
from tests.faults.result import Conditions, Run, load
from tests.rehearsal.deployment import Deployment

CONDITIONS = Conditions(seed=1, conversations=1, rate=40.0)


class _Cluster:
    """A cluster whose command line returns queued answers, and which prints one line of logs."""

    def __init__(self, answers: list[tuple[int, str]] | None = None) -> None:
        self.answers = answers or []
        self.is_closed = False

    async def tool(self, *arguments: str, output: Path | None) -> tuple[int, str]:
        del arguments, output
        return self.answers.pop(0)

    def show_logs(self) -> None:
        print("the last line of auth-1")  # noqa: T201

    async def close(self) -> None:
        self.is_closed = True


def laboratory(folder: Path, cluster: _Cluster) -> Laboratory:
    return Laboratory(cast(Deployment, SimpleNamespace(folder=folder, cluster=cluster)), [], CONDITIONS, Plan())


async def test_a_run_that_hangs_fails_in_time_and_shows_the_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Laboratory, "_run", hang)
    cluster = _Cluster()
    assert await laboratory(tmp_path, cluster).run([], 0.0, within=0.01) == 1
    output = capsys.readouterr().out
    assert "TimeoutError" in output
    assert "the last line of auth-1" in output
    assert cluster.is_closed
    (run,) = load([tmp_path / "result.json"])
    assert isinstance(run, Run)
    assert run.failure == "TimeoutError()"


async def test_a_command_that_cannot_connect_is_tried_again(tmp_path: Path) -> None:
    assert await laboratory(tmp_path, _Cluster([(1, ""), (0, "{}")]))._tool("events") == "{}"


async def test_a_command_that_prints_nothing_each_time_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="vestnik events ended with 1"):
        await laboratory(tmp_path, _Cluster([(1, "")] * 3))._tool("events")
