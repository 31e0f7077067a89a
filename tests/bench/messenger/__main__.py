"""Starts a fresh system with production settings and measures it under load.

Load generator, servers and database share the machine. After each scenario every read model is compared with its
streams. The last run of a size is kept in `.bench/`, and the next one is compared with it.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import uvloop

from infra.embedded.exec_wrapper import wait_for_turns
from infra.runtime.gc_tuning import tune_gc
from tests.bench.messenger import gauges, pairs, plots, results
from tests.bench.messenger.driving import Outcome
from tests.bench.messenger.results import Result, Run
from tests.bench.messenger.scenarios import SCENARIOS, SIZES, Size
from tests.bench.messenger.world import World, world
from tests.bench.report import machine

_VERIFY_WITHIN = 1_800


class _Worlds:
    """The system that scenarios share, started on first use, and the systems of single scenarios."""

    def __init__(self, size: Size, replicas: int, run: Run) -> None:
        self._size, self._replicas, self._run = size, replicas, run
        self._shared: World | None = None
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def fitting(self, *, alone: bool) -> AsyncIterator[World]:
        if not alone:
            if self._shared is None:
                self._shared = await self._stack.enter_async_context(self._fresh())
            # A run of all scenarios lasts longer than an access token.
            await self._shared.renew()
            yield self._shared
            return
        # One system at a time: another one, however idle, would take its part of the machine.
        await self.close()
        async with self._fresh() as fresh:
            yield fresh

    async def close(self) -> None:
        self._shared = None
        await self._stack.aclose()

    @asynccontextmanager
    async def _fresh(self) -> AsyncIterator[World]:
        with tempfile.TemporaryDirectory() as folder:
            # The database does not run as root.
            Path(folder).chmod(0o755)
            async with world(Path(folder), pairs=self._size.pairs, replicas=self._replicas) as fresh:
                if not self._run.idle:
                    self._run.idle = gauges.memory(fresh.system)
                yield fresh


async def measure(arguments: argparse.Namespace, size: Size, against: Mapping[str, Outcome]) -> Run:
    # Ended from outside, the bench leaves no system behind.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    run = Run(machine=machine(), size=size.name, pairs=size.pairs, replicas=arguments.replicas, load=os.getloadavg()[0])
    worlds = _Worlds(size, arguments.replicas, run)
    try:
        for name in arguments.scenario or SCENARIOS:
            scenario = SCENARIOS[name]
            if reason := scenario.missing():
                result = Result(scenario=name, skipped=reason)
            else:
                begin = time.perf_counter()
                async with worlds.fitting(alone=scenario.alone) as world:
                    measured = await scenario.measure(world, size)
                    result = Result(
                        scenario=name,
                        outcomes=measured.outcomes,
                        figures=measured.figures,
                        memory=gauges.memory(world.system),
                        disk=gauges.disk(world.system),
                    )
                    if not arguments.no_verify:
                        await _verify(world, result)
                    result.seconds = round(time.perf_counter() - begin, 1)
            run.results.append(result)
            if not arguments.json:
                _say(results.lines(result, against))
    finally:
        await worlds.close()
    return run


async def _verify(world: World, result: Result) -> None:
    verdict = await asyncio.to_thread(world.system.vestnik, "verify", within=_VERIFY_WITHIN)
    result.equal = verdict.returncode == 0
    if not result.equal:
        result.differences = (verdict.stdout + verdict.stderr)[-2_000:]


def _say(lines: Sequence[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _size(arguments: argparse.Namespace) -> Size:
    size = SIZES[arguments.size]
    changed = {name: value for name in ("pairs", "seconds") if (value := getattr(arguments, name)) is not None}
    if arguments.scale != 1.0:
        counts = {
            name: max(1, round(getattr(size, name) * arguments.scale)) for name in ("day", "long", "past", "users")
        }
        # Kept apart: it is no run of this size.
        changed |= {**counts, "name": f"{size.name}-{arguments.scale:g}"}
    return msgspec.structs.replace(size, **changed)


def _compare_trees(arguments: argparse.Namespace) -> None:
    options = [*arguments.scenario, f"--size={arguments.size}", f"--scale={arguments.scale:g}"]
    options += [f"--{name}={value}" for name in ("pairs", "seconds") if (value := getattr(arguments, name)) is not None]
    options += [f"--replicas={arguments.replicas}", *(["--no-verify"] if arguments.no_verify else [])]
    quiet = arguments.json
    rounds = pairs.measure(
        arguments.pairs_with, options, arguments.rounds, lambda line: None if quiet else _say([line])
    )
    ratios = pairs.compare(rounds)
    if quiet:
        sys.stdout.write(msgspec.json.encode(ratios).decode() + "\n")
    else:
        _say(["medians; ratio present to other, and its range over the rounds:", *pairs.lines(ratios)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="default: all of them")
    parser.add_argument("--size", choices=SIZES, default="official", help="short: all of them within minutes")
    parser.add_argument("--pairs", type=int, help="of friends who are measured, instead of the size's")
    parser.add_argument("--seconds", type=float, help="of each load, instead of the size's")
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the size's users and stored messages")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--no-verify", action="store_true", help="do not compare read models after each scenario")
    parser.add_argument("--against", type=Path, help="a run's JSON to compare with; default: the last of this size")
    parser.add_argument(
        "--pairs-with", metavar="COMMIT", help="measure in turns with the tree of this commit, each time a fresh system"
    )
    parser.add_argument("--rounds", type=int, default=5, help="with --pairs-with: runs of each tree")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the run, as SVG")
    parser.add_argument("--markdown", action="store_true", help="the table of docs/reference/performance.md besides")
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="show a run's JSON; measure nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    if arguments.pairs_with:
        _compare_trees(arguments)
        return
    size = _size(arguments)
    older = results.read(arguments.against) if arguments.against else results.before(size.name)
    against = older.outcomes() if older is not None else {}
    if arguments.source is not None:
        run = results.read(arguments.source)
        for result in run.results:
            if not arguments.json:
                _say(results.lines(result, against))
    else:
        # As the system's own processes do: clients on other machines would not push the gateway off its processor with
        # everything that it writes to them.
        wait_for_turns()
        # What is noted down of each message stays, and would be looked through again and again while others wait.
        tune_gc()
        run = uvloop.run(measure(arguments, size, against))
        results.keep(run)
    if arguments.plots is not None:
        plots.write(run, arguments.plots)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(run).decode() + "\n")
    else:
        if arguments.markdown:
            sys.stdout.write(results.markdown(run))
        machine_words = ", ".join(f"{name} {value}" for name, value in run.machine.items())
        _say([f"idle: {sum(run.idle.values()):,.0f} MiB (PSS); {machine_words}; load before {run.load:.1f}"])
    if any(result.equal is False for result in run.results):
        sys.exit("a read model is not what its streams say")


if __name__ == "__main__":
    main()
