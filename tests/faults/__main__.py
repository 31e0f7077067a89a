"""Runs the deployment under faults: `./just faults`. Exit code 0 also where this machine lacks what it needs."""

import argparse
import asyncio
import itertools
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import msgspec

from infra.operator_errors import OperatorError
from tests.faults import report, result
from tests.faults.checker.finding import Bounds
from tests.faults.clients.traffic import Plan
from tests.faults.missing import missing
from tests.faults.mutations import runs
from tests.faults.mutations.catalogue import BY_NAME as MUTATIONS
from tests.faults.nemesis import disks
from tests.faults.nemesis.catalogue import FAULTS
from tests.faults.nemesis.clocks import LIBRARY
from tests.faults.nemesis.fault import Fault
from tests.faults.result import Conditions
from tests.faults.runs import summary
from tests.faults.schedule import steps
from tests.rehearsal import enter_host
from tests.rehearsal.cluster import ROOT

_INTERRUPTED = 130
_MINUTES = 10.0
# Of `--short`, which ends within 20 minutes and whose times never fail on a slow machine: how long the faults come, how
# long each lasts at most, the longest in seconds that all of it takes, the schedule's seed.
_SHORT_MINUTES, _SHORT_FAULT, _SHORT_WITHIN, _SHORT_SEED = 2.0, 6.0, 1080.0, 1
_SHORT_PLAN = Plan(tried_for=25.0, delivered_within=180.0, mailed_within=180.0)
# In a second, of the four writers of a conversation, where no other number of conversations is asked for.
_MESSAGES_EACH = 8.0
# Of the clients of a conversation. They may all be at one gateway at the end, and at the other one before.
_CONNECTIONS_EACH = 8
_SHORT_BOUNDS = Bounds(removal=20.0, revocation=20.0, friendship=60.0, answer=120.0, back=300.0)
_SHORT = ("kill", "freeze", "step_down", "leader_dies", "cut", "one_way_cut", "node_apart")
# Hosts that do not run in the smallest topology that has every kind of host.
_SMALL_WITHOUT = frozenset(f"{kind}-2" for kind in ("auth", "session", "profile", "contact", "messaging"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="./just faults", description="Runs the deployment under faults.")
    parser.add_argument("--minutes", type=float, help="for how long faults are caused; 10 by default")
    parser.add_argument("--seed", type=int, help="of the schedule; without it any, which is printed")
    parser.add_argument("--only", action="append", choices=[*FAULTS], help="these faults; all by default")
    parser.add_argument("--steps", type=int, help="how many steps of the schedule at most")
    parser.add_argument("--longest", type=float, help="the most seconds that a fault lasts")
    parser.add_argument("--rate", type=float, help="messages a second of all clients together; 40 by default")
    parser.add_argument("--conversations", type=int, help="of two people each; one by default, or enough for the rate")
    parser.add_argument("--small", action="store_true", help="one replica of each service instead of two")
    parser.add_argument("--short", action="store_true", help="some faults, each a few seconds: 20 minutes at most")
    parser.add_argument("--folder", type=Path, help="an empty folder to keep the result, history, logs and data in")
    parser.add_argument(
        "--report",
        nargs="*",
        type=Path,
        metavar="RESULT",
        help=f"runs nothing: keeps these results in {summary.FOLDER.relative_to(ROOT)}, and writes the tables of"
        f" {report.PAGE.relative_to(ROOT)} from all that are kept",
    )
    parser.add_argument(
        "--mutations",
        nargs="*",
        choices=[*MUTATIONS, []],
        metavar="NAME",
        help="puts faults into the product's source, one after the other, and runs `vestnik up`: each must be noticed",
    )
    options = parser.parse_args()
    if options.report is not None:
        summary.keep(result.load(options.report))
        report.write()
        return
    if options.mutations is not None:
        try:
            sys.exit(asyncio.run(runs.run(options.mutations, options.folder)))
        except OperatorError as error:
            sys.exit(str(error))
    if options.short:
        options.only = options.only or _SHORT
        options.minutes = _SHORT_MINUTES if options.minutes is None else options.minutes
        options.longest = _SHORT_FAULT if options.longest is None else options.longest
        options.seed = _SHORT_SEED if options.seed is None else options.seed
    if lacking := missing():
        print(f"faults skipped: this machine lacks {', '.join(lacking)}")  # noqa: T201
        return
    faults = _possible([FAULTS[name] for name in options.only or FAULTS])
    folder = options.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    enter_host.new_machine(folder)
    code = asyncio.run(_run(folder, options, faults))
    if code not in (0, _INTERRUPTED):
        print(f"everything is kept in {folder}")  # noqa: T201
    elif options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


def _possible(faults: Sequence[type[Fault]]) -> Sequence[type[Fault]]:
    """Leaves out the faults that this machine lacks something for, and says so."""
    possible = []
    for fault in faults:
        lacking = disks.missing() if fault.needs_disks else []
        if fault.needs_clocks and not LIBRARY.exists():
            lacking.append("the package faketime")
        if lacking:
            print(f"without the fault {fault.name()}: this machine lacks {', '.join(lacking)}")  # noqa: T201
        else:
            possible.append(fault)
    return possible


def _at_rate(plan: Plan, rate: float | None, conversations: int | None) -> Plan:
    """The plan with as many messages a second, in as many conversations, as the options say."""
    if conversations is None:
        conversations = max(1, ceil((rate or 0.0) / _MESSAGES_EACH))
    plan = msgspec.structs.replace(plan, conversations=conversations)
    return plan if rate is None else msgspec.structs.replace(plan, interval=plan.rate * plan.interval / rate)


async def _run(folder: Path, options: argparse.Namespace, faults: Sequence[type[Fault]]) -> int:
    from tests.faults.laboratory import Laboratory
    from tests.rehearsal.deployment import Deployment

    # Of TLS connections that end.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)  # noqa: T201
    deployment = Deployment(folder, without=_SMALL_WITHOUT if options.small else ())
    plan, bounds, within = (_SHORT_PLAN, _SHORT_BOUNDS, _SHORT_WITHIN) if options.short else (Plan(), Bounds(), None)
    plan = _at_rate(plan, options.rate, options.conversations)
    bounds = msgspec.structs.replace(bounds, files=bounds.files + _CONNECTIONS_EACH * plan.conversations)
    conditions = Conditions(seed=seed, conversations=plan.conversations, rate=plan.rate, small=options.small)
    laboratory = Laboratory(deployment, faults, conditions, plan, bounds)
    schedule = steps(seed, laboratory.hosts, faults, longest=options.longest)
    seconds = 60 * (_MINUTES if options.minutes is None else options.minutes)
    task = asyncio.create_task(laboratory.run(itertools.islice(schedule, options.steps), seconds, within))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        print("stopped", flush=True)  # noqa: T201
        return _INTERRUPTED


if __name__ == "__main__":
    main()
