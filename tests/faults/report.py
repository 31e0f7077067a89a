"""The report `docs/reference/faults.md`: its tables are made from the runs that are kept, the text is by hand."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path

from tests.faults.nemesis.catalogue import FAULTS
from tests.faults.nemesis.fault import Fault
from tests.faults.result import Mutations
from tests.faults.runs import summary
from tests.faults.runs.summary import FaultSummary, RunSummary
from tests.rehearsal.cluster import ROOT

PAGE = ROOT / "docs" / "reference" / "faults.md"
_BEGIN, _END = "<!-- {name}: written by ./just faults --report -->\n", "<!-- end of {name} -->\n"
_NUMBERS = "times | acknowledged | lost | doubled | wrong answers | recovery p50 | worst |"
_RULE = "---:|" * 7
_TABLES = ("runs", "faults", "pairs", "mutations", "findings")


def write(page: Path = PAGE, folder: Path = summary.FOLDER) -> None:
    """Puts the tables of all runs that are kept into the page.

    Raises:
        ValueError: the page has no place for a table.
    """
    runs, mutations = summary.kept_runs(folder), summary.kept_mutations(folder)
    faults = [fault for run in runs for fault in run.faults]
    tables = (_runs(runs), alone(faults), pairs(faults), _mutations(mutations), _findings(runs, mutations))
    text = page.read_text()
    for name, lines in zip(_TABLES, tables, strict=True):
        text = _replaced(text, name, "".join(f"{line}\n" for line in lines))
    page.write_text(text)


def alone(summaries: Iterable[FaultSummary], faults: Iterable[type[Fault]] = tuple(FAULTS.values())) -> Iterator[str]:
    """One row for each of the faults, of the steps in which it came alone."""
    own: dict[tuple[str, ...], list[FaultSummary]] = defaultdict(list)
    for one in summaries:
        own[one.faults].append(one)
    yield f"| fault | {_NUMBERS}"
    yield f"|---|{_RULE}"
    for fault in faults:
        yield f"| {fault.title} | {_numbers(own[(fault.name(),)])} |"


def pairs(summaries: Iterable[FaultSummary]) -> Iterator[str]:
    """One row for all pairs, and one for each that was taken."""
    by_pair: dict[tuple[str, ...], list[FaultSummary]] = defaultdict(list)
    for one in summaries:
        if len(one.faults) > 1:
            by_pair[one.faults].append(one)
    yield f"| pair | {_NUMBERS}"
    yield f"|---|{_RULE}"
    yield f"| all | {_numbers([one for own in by_pair.values() for one in own])} |"
    for names, own in sorted(by_pair.items()):
        yield f"| {' and '.join(f'`{name}`' for name in names)} | {_numbers(own)} |"


def _numbers(summaries: Sequence[FaultSummary]) -> str:
    waits = sorted(seconds for one in summaries for seconds in one.recovery)
    if not waits:
        return "0 | | | | | |"
    counts = (
        len(waits),
        sum(one.acknowledged for one in summaries),
        sum(one.lost for one in summaries),
        sum(one.doubled for one in summaries),
        sum(one.wrong for one in summaries),
    )
    seconds = waits[ceil(len(waits) / 2) - 1], waits[-1]
    return " | ".join((*(f"{count:,}" for count in counts), *(f"{value:.1f} s" for value in seconds)))


def _runs(runs: Sequence[RunSummary]) -> Iterator[str]:
    head = ("date", "tree", "seed", "minutes", "conversations", "steps", "acknowledged", "live deliveries")
    yield f"| {' | '.join(head)} | lost | doubled | wrong | ended |"
    yield "|---|---|" + "---:|" * 9 + "---|"
    for run in runs:
        conditions, tally = run.conditions, run.found
        steps = sum(len(one.recovery) for one in run.faults)
        counts = (conditions.conversations, steps, run.acknowledged, run.live_events)
        yield (
            f"| {run.date} | `{run.tree}` | {conditions.seed} | {run.minutes:.1f} |"
            f" {' | '.join(f'{count:,}' for count in counts)} | {tally.lost} | {tally.doubled} | {tally.wrong} |"
            f" {'no' if run.failure else 'yes'} |"
        )
    acknowledged, live_events = sum(run.acknowledged for run in runs), sum(run.live_events for run in runs)
    yield ""
    yield f"{acknowledged:,} messages were acknowledged over all runs, and {live_events:,} live events delivered."
    if unread := sum(run.acknowledged for run in runs if run.failure):
        yield f"{unread:,} of these messages are of runs that were not ended: nobody has read them at the end."
    yield f"Machines: {'; '.join(sorted({run.machine for run in runs})) or 'none'}."


def _mutations(run: Mutations) -> Iterator[str]:
    yield "| mutation | what is wrong then | caught by | after |"
    yield "|---|---|---|---:|"
    for mutation in run.mutations:
        caught = ", ".join(f"`{check}`" for check in mutation.checks) if mutation.is_caught else "**not caught**"
        yield f"| `{mutation.name}` | {mutation.fault} | {caught} | {mutation.seconds:.0f} s |"
    yield ""
    caught_ones = sum(mutation.is_caught for mutation in run.mutations)
    trees = ", ".join(sorted({f"`{mutation.tree}`" for mutation in run.mutations})) or "none"
    yield f"{caught_ones} of {len(run.mutations)} were caught; trees: {trees}."


def _findings(runs: Sequence[RunSummary], mutations: Mutations) -> Iterator[str]:
    lines = []
    for run in runs:
        lines += [f"- Seed {run.conditions.seed}: {finding}" for finding in run.findings]
        if run.failure:
            lines.append(f"- Seed {run.conditions.seed} was not ended: {run.failure}")
    lines += [
        f"- Without a mutation: the scenario of {one.name} found something."
        for one in mutations.unmutated
        if not one.is_sound
    ]
    yield from lines or ["Nothing was found."]


def _replaced(text: str, name: str, table: str) -> str:
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no place for the table '{name}'")
    return f"{before}{begin}\n{table}\n{end}{after}"
