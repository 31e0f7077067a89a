"""The report `docs/reference/faults.md`: its tables are made from the results of runs, the text around them by hand."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path

from tests.faults import result
from tests.faults.nemesis.catalogue import FAULTS
from tests.faults.nemesis.fault import Fault
from tests.faults.recovery import Recovery
from tests.faults.result import Mutations, Run
from tests.rehearsal.cluster import ROOT

PAGE = ROOT / "docs" / "reference" / "faults.md"
_BEGIN, _END = "<!-- {name}: written by ./just faults --report -->\n", "<!-- end of {name} -->\n"
_NUMBERS = "times | acknowledged | lost | doubled | wrong answers | recovery p50 | worst |"
_RULE = "---:|" * 7
_TABLES = ("runs", "faults", "pairs", "mutations", "findings")


def write(paths: Sequence[Path], page: Path = PAGE) -> None:
    """Puts the tables of all results into the page.

    Raises:
        ValueError: the page has no place for a table.
    """
    results = result.load(paths)
    runs = [one for one in results if isinstance(one, Run)]
    mutations = [one for one in results if isinstance(one, Mutations)]
    steps = [step for run in runs for step in run.steps]
    tables = (_runs(runs), alone(steps), pairs(steps), _mutations(mutations), _findings(results))
    text = page.read_text()
    for name, lines in zip(_TABLES, tables, strict=True):
        text = _replaced(text, name, "".join(f"{line}\n" for line in lines))
    page.write_text(text)


def alone(steps: Iterable[Recovery], faults: Iterable[type[Fault]] = tuple(FAULTS.values())) -> Iterator[str]:
    """One row for each of the faults, of the steps in which it came alone."""
    by_fault: dict[str, list[Recovery]] = defaultdict(list)
    for step in steps:
        if len(step.faults) == 1:
            by_fault[step.faults[0]].append(step)
    yield f"| fault | {_NUMBERS}"
    yield f"|---|{_RULE}"
    for fault in faults:
        yield f"| {fault.title} | {_numbers(by_fault[fault.name()])} |"


def pairs(steps: Iterable[Recovery]) -> Iterator[str]:
    """One row for all pairs, and one for each that was taken."""
    by_pair: dict[tuple[str, ...], list[Recovery]] = defaultdict(list)
    for step in steps:
        if len(step.faults) > 1:
            by_pair[step.faults].append(step)
    yield f"| pair | {_NUMBERS}"
    yield f"|---|{_RULE}"
    yield f"| all | {_numbers([step for own in by_pair.values() for step in own])} |"
    for names, own in sorted(by_pair.items()):
        yield f"| {' and '.join(f'`{name}`' for name in names)} | {_numbers(own)} |"


def _numbers(steps: Sequence[Recovery]) -> str:
    if not steps:
        return "0 | | | | | |"
    waits = sorted(step.seconds for step in steps)
    counts = (
        len(steps),
        sum(step.acknowledged for step in steps),
        sum(step.found.lost for step in steps),
        sum(step.found.doubled for step in steps),
        sum(step.found.wrong for step in steps),
    )
    seconds = waits[ceil(len(waits) / 2) - 1], waits[-1]
    return " | ".join((*(f"{count:,}" for count in counts), *(f"{value:.1f} s" for value in seconds)))


def _runs(runs: Sequence[Run]) -> Iterator[str]:
    head = ("date", "tree", "seed", "minutes", "conversations", "steps", "acknowledged", "live deliveries")
    yield f"| {' | '.join(head)} | lost | doubled | wrong | ended |"
    yield "|---|---|" + "---:|" * 9 + "---|"
    for run in runs:
        conditions, found = run.conditions, run.found
        counts = (conditions.conversations, len(run.steps), run.acknowledged, run.live_events)
        yield (
            f"| {run.date} | `{run.tree}` | {conditions.seed} | {run.seconds / 60:.1f} |"
            f" {' | '.join(f'{count:,}' for count in counts)} | {found.lost} | {found.doubled} | {found.wrong} |"
            f" {'no' if run.failure else 'yes'} |"
        )
    acknowledged, live_events = sum(run.acknowledged for run in runs), sum(run.live_events for run in runs)
    yield ""
    yield f"{acknowledged:,} messages were acknowledged over all runs, and {live_events:,} live events delivered."
    yield f"Machines: {'; '.join(sorted({run.machine for run in runs})) or 'none'}."


def _mutations(runs: Sequence[Mutations]) -> Iterator[str]:
    yield "| mutation | what is wrong then | caught by | after |"
    yield "|---|---|---|---:|"
    newest = {mutation.name: mutation for run in runs for mutation in run.mutations}
    for mutation in newest.values():
        caught = ", ".join(f"`{check}`" for check in mutation.checks) if mutation.is_caught else "**not caught**"
        yield f"| `{mutation.name}` | {mutation.fault} | {caught} | {mutation.seconds:.0f} s |"
    yield ""
    caught_ones = sum(mutation.is_caught for mutation in newest.values())
    yield f"{caught_ones} of {len(newest)} were caught; trees: {_trees(runs)}."


def _findings(results: Sequence[Run | Mutations]) -> Iterator[str]:
    lines = []
    for one in results:
        if isinstance(one, Mutations):
            lines += [f"- Without a mutation: {name} found something." for name in one.unsound]
            continue
        lines += [f"- Seed {one.conditions.seed}: {finding}" for finding in one.findings]
        if one.failure:
            lines.append(f"- Seed {one.conditions.seed} was not ended: {one.failure}")
    yield from lines or ["Nothing was found."]


def _trees(runs: Sequence[Mutations]) -> str:
    return ", ".join(sorted({f"`{run.tree}`" for run in runs})) or "none"


def _replaced(text: str, name: str, table: str) -> str:
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no place for the table '{name}'")
    return f"{before}{begin}\n{table}\n{end}{after}"
