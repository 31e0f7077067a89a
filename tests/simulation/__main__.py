"""Runs simulations for longer than the tests do: `./just simulate --minutes 10`, or one seed again."""

import argparse
import logging
import sys
import time

from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.world import Failed, World, machine, play
from tests.simulation.worlds.appends import Appends
from tests.simulation.worlds.calls import Calls
from tests.simulation.worlds.commands import Commands
from tests.simulation.worlds.live import Live
from tests.simulation.worlds.projections import Projections
from tests.simulation.worlds.reading import ReaderWorld
from tests.simulation.worlds.rebuilds import Rebuilds

WORLDS: dict[str, type[World]] = {
    "appends": Appends,
    "calls": Calls,
    "commands": Commands,
    "live": Live,
    "projections": Projections,
    "reading": ReaderWorld,
    "rebuilds": Rebuilds,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", nargs="*", choices=[*WORLDS, []], help="which ones; all by default")
    parser.add_argument("--minutes", type=float, default=1.0, help="for how long")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, help="how many seeds instead of a time")
    parser.add_argument(
        "--shrink", type=int, metavar="EXAMPLES", help="searches with Hypothesis and shortens what fails"
    )
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    worlds = {name: WORLDS[name] for name in arguments.world or WORLDS}
    if arguments.shrink:
        for world_type in worlds.values():
            run_state_machine_as_test(machine(world_type, arguments.shrink, shrink=True))
        return 0
    failed, runs, until = 0, 0, time.perf_counter() + arguments.minutes * 60
    while runs < arguments.runs if arguments.runs else time.perf_counter() < until:
        for world_type in worlds.values():
            try:
                play(world_type, arguments.seed + runs)
            except Failed as error:
                failed += 1
                sys.stderr.write(f"{error}\n")
        runs += 1
    sys.stdout.write(f"{runs} runs of {', '.join(worlds)} from seed {arguments.seed}: {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
