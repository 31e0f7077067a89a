"""The table of a report: what each fault did, over all runs that are given."""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path

from tests.faults import history
from tests.faults.checker import check
from tests.faults.nemesis.catalogue import FAULTS
from tests.faults.recovery import Recovery, recoveries

_HEAD = (
    "| fault | times | acknowledged | attempts repeated | longest wait, p50 | worst |",
    "|---|---:|---:|---:|---:|---:|",
)
_PAIRS = "two of them at the same time"


def table(steps: Iterable[Recovery]) -> str:
    """One row for each fault that came alone, and one for all pairs."""
    rows: dict[str, list[Recovery]] = defaultdict(list)
    for step in steps:
        rows[FAULTS[step.faults[0]].title if len(step.faults) == 1 else _PAIRS].append(step)
    titles = [title for title in (*(fault.title for fault in FAULTS.values()), _PAIRS) if title in rows]
    return "".join(f"{line}\n" for line in (*_HEAD, *(_row(title, rows[title]) for title in titles)))


def _row(title: str, steps: Sequence[Recovery]) -> str:
    waits = sorted(step.seconds for step in steps)
    median = waits[ceil(len(waits) / 2) - 1]
    acknowledged, failed = sum(step.acknowledged for step in steps), sum(step.failed for step in steps)
    return f"| {title} | {len(steps)} | {acknowledged:,} | {failed:,} | {median:.1f} s | {waits[-1]:.1f} s |"


def _lines(folders: Sequence[Path]) -> Iterator[str]:
    steps: list[Recovery] = []
    acknowledged, findings = 0, []
    for folder in folders:
        record = history.read(folder)
        steps += recoveries(record)
        acknowledged += record.acknowledged
        findings += check(record)
    yield f"{len(folders)} runs, {acknowledged:,} messages acknowledged, {len(findings)} findings\n"
    yield from (f"- {finding}\n" for finding in findings)
    yield "\n"
    yield table(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints the table of the runs whose folders are given.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    print("".join(_lines(parser.parse_args().folders)), end="")  # noqa: T201


if __name__ == "__main__":
    main()
