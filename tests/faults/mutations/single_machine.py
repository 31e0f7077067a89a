"""A run on `vestnik up`: the traffic, what happens to the system meanwhile, and the findings of the checker."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from contracts.services import REGISTRY
from contracts.subjects import STREAMS
from tests.faults import final_state, process_samples
from tests.faults.checker import check
from tests.faults.checker.finding import Bounds, Finding
from tests.faults.clients.gateways import Gateways, Target
from tests.faults.clients.mails import Mails
from tests.faults.clients.traffic import Plan, Traffic
from tests.faults.history import ProcessState, now
from tests.faults.recording import Recorder, read
from tests.fix_system import System, wait_until

_OPEN_WITHIN = 300.0
_BACK_WITHIN = 60.0
# A verification runs at a low priority: on a busy machine it takes minutes.
_VERIFIED_WITHIN = 900.0
_SAMPLE_EVERY = 0.5

Disturbance = Callable[[System, Traffic], Awaitable[None]]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest traffic, and what happens meanwhile, that shows some kinds of faults."""

    plan: Plan
    disturb: Disturbance
    bounds: Bounds = Bounds()
    replicas: int = 1
    settings: Mapping[str, str] = {}
    # Whether the read models and the streams are compared at the end, which takes half of the time.
    verified: bool = False
    # A longer scenario, of which this one is a part: the tree without a mutation is run through that.
    part_of: "Scenario | None" = None


async def run(scenario: Scenario, folder: Path, root: Path) -> list[Finding]:
    """Runs the tree's product through the scenario; `folder` keeps its data, log and history.

    A run that cannot be ended is a finding, `run.failed`, beside those of the checks.
    """
    failures: list[Finding] = []
    system = System(folder / "data", replicas=scenario.replicas, settings=scenario.settings, root=root)
    try:
        await asyncio.to_thread(system.start)
        with Recorder(folder) as recorder:
            try:
                await _observe(scenario, system, recorder)
            except (AssertionError, ExceptionGroup, OSError) as error:
                failures.append(Finding("run.failed", "".join(traceback.format_exception(error))))
            await asyncio.to_thread(_record_ready, system, recorder)
    finally:
        await asyncio.to_thread(system.stop)
    return [finding for part in read(folder) for finding in check(part, scenario.bounds)] + failures


async def _observe(scenario: Scenario, system: System, recorder: Recorder) -> None:
    gateways, mails = Gateways([Target(system.url)], recorder), Mails(recorder)
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(mails.watch(system.data_dir / "mail")),
                tasks.create_task(_sample(system, recorder)),
            ]
            traffic = Traffic(gateways, mails, scenario.plan)
            async with asyncio.timeout(_OPEN_WITHIN):
                await traffic.open()
            async with traffic.flowing():
                await scenario.disturb(system, traffic)
            await traffic.read_whole()
            if scenario.verified:
                await asyncio.to_thread(_record_state, system, recorder)
            for task in watching:
                task.cancel()
    finally:
        await gateways.close()


async def _sample(system: System, recorder: Recorder) -> None:
    """Records what the services' processes hold, until it is cancelled."""
    while True:
        for process in system.processes():
            name = process.command[-1] if process.command else ""
            sample = process_samples.take(name, process.pid) if name in REGISTRY else None
            if sample is not None:
                recorder.add(sample)
        await asyncio.sleep(_SAMPLE_EVERY)


def _record_ready(system: System, recorder: Recorder) -> None:
    """Records whether everything is ready again."""
    try:
        wait_until(system.is_ready, "the system ready", within=_BACK_WITHIN)
        state = "ready"
    except pytest.fail.Exception:
        state = "not_ready"
    recorder.add(ProcessState(process="system", at=now(), state=state))


def _record_state(system: System, recorder: Recorder) -> None:
    """Records what differs in the read models, and every event of the streams."""
    verified = system.vestnik("verify", "--json", within=_VERIFIED_WITHIN)
    for model in final_state.read_models(verified.stdout):
        recorder.add(model)
    for name in STREAMS:
        listed = system.vestnik("events", "--stream", name, "--json", within=_VERIFIED_WITHIN)
        for part in final_state.stream(name, listed.stdout.splitlines()):
            recorder.add(part)
