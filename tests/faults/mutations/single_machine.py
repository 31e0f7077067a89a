"""A run on `vestnik up`: the traffic, what happens to the system meanwhile, and the findings of the checker."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from contracts.subjects import STREAMS
from tests.faults import final_state
from tests.faults.checker import check
from tests.faults.checker.finding import Bounds, Finding
from tests.faults.clients.gateways import Gateways, Target
from tests.faults.clients.mails import Mails
from tests.faults.clients.traffic import Plan, Traffic
from tests.faults.history import ProcessState, Recorder, now, read
from tests.fix_system import System, wait_until

_OPEN_WITHIN = 120.0
_BACK_WITHIN = 60.0
_VERIFIED_WITHIN = 300.0

Disturbance = Callable[[System, Traffic], Awaitable[None]]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest traffic, and what happens meanwhile, that shows some kinds of faults."""

    plan: Plan
    disturb: Disturbance
    bounds: Bounds = Bounds()
    replicas: int = 1
    settings: Mapping[str, str] = {}


async def run(scenario: Scenario, folder: Path, root: Path) -> list[Finding]:
    """Runs the tree's product through the scenario; `folder` keeps its data, log and history."""
    system = System(folder / "data", replicas=scenario.replicas, settings=scenario.settings, root=root)
    try:
        await asyncio.to_thread(system.start)
        with Recorder(folder) as recorder:
            await _observe(scenario, system, recorder)
    finally:
        await asyncio.to_thread(system.stop)
    return check(read(folder), scenario.bounds)


async def _observe(scenario: Scenario, system: System, recorder: Recorder) -> None:
    gateways, mails = Gateways([Target(system.url)], recorder), Mails(recorder)
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(mails.watch(system.data_dir / "mail"))
            traffic = Traffic(gateways, mails, scenario.plan)
            async with asyncio.timeout(_OPEN_WITHIN):
                await traffic.open()
            async with traffic.flowing():
                await scenario.disturb(system, traffic)
            await traffic.read_whole()
            await asyncio.to_thread(_record_state, system, recorder)
            watching.cancel()
    finally:
        await gateways.close()


def _record_state(system: System, recorder: Recorder) -> None:
    """Records whether everything is ready, the read models, and every event of the streams."""
    try:
        wait_until(system.is_ready, "the system ready", within=_BACK_WITHIN)
        state = "ready"
    except BaseException as error:  # noqa: BLE001, RUF100 - pytest's own
        if not type(error).__name__ == "Failed":
            raise
        state = "not_ready"
    recorder.add(ProcessState(process="system", at=now(), state=state))
    verified = system.vestnik("verify", "--json", within=_VERIFIED_WITHIN)
    for model in final_state.read_models(verified.stdout):
        recorder.add(model)
    for name in STREAMS:
        listed = system.vestnik("events", "--stream", name, "--json", within=_VERIFIED_WITHIN)
        for part in final_state.stream(name, listed.stdout.splitlines()):
            recorder.add(part)
