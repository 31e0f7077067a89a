"""Results of a run: stored as JSON, shown as a table, compared with the previous run."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tests.bench.messenger.driving import Outcome

# Not in the repository: what this machine measured last, by size.
KEPT = Path(__file__).resolve().parents[3] / ".bench"
# A change of less is noise between two single runs.
NOISE = 0.10


class Result(msgspec.Struct, kw_only=True):
    """One scenario."""

    scenario: str
    # Why it was left out; empty if it was not.
    skipped: str = ""
    outcomes: list[Outcome] = []
    figures: dict[str, float] = {}
    # MiB by part, shared pages counted in proportion (PSS), right after it.
    memory: dict[str, float] = {}
    # Bytes by folder of the data directory.
    disk: dict[str, int] = {}
    # Whether `vestnik verify` found every read model equal to its streams afterwards; None if it was not asked.
    equal: bool | None = None
    # What it says where it did not.
    differences: str = ""
    seconds: float = 0.0


class Run(msgspec.Struct, kw_only=True):
    machine: dict[str, str]
    size: str
    pairs: int
    replicas: int
    # Load of the machine before it began.
    load: float = 0.0
    # Of the whole system, MiB by part, before anything was asked of it.
    idle: dict[str, float] = {}
    results: list[Result] = []

    def outcomes(self) -> dict[str, Outcome]:
        return {outcome.scenario: outcome for result in self.results for outcome in result.outcomes}


def read(path: Path) -> Run:
    """
    Raises:
        OSError, msgspec.DecodeError: there is no such run.
    """
    return msgspec.json.decode(path.read_bytes(), type=Run)


def before(size: str) -> Run | None:
    """The previous run of this size on this machine."""
    try:
        return read(KEPT / f"messenger-{size}.json")
    except (OSError, msgspec.DecodeError):
        return None


def keep(run: Run) -> Path:
    """Keeps the run for the next one to be compared with; scenarios that it left out stay as they were."""
    path = KEPT / f"messenger-{run.size}.json"
    done = {result.scenario for result in run.results}
    older = before(run.size)
    left = [result for result in older.results if result.scenario not in done] if older else []
    KEPT.mkdir(exist_ok=True)
    merged = msgspec.structs.replace(run, results=[*left, *run.results])
    path.write_bytes(msgspec.json.format(msgspec.json.encode(merged), indent=1))
    return path


def lines(result: Result, against: Mapping[str, Outcome]) -> list[str]:
    """The results of a scenario as text."""
    if result.skipped:
        return [f"{result.scenario}: left out, {result.skipped}"]
    output = []
    for outcome in result.outcomes:
        line = (
            f"{outcome.scenario:<24}{outcome.in_flight:>4} in flight{outcome.per_second:>9,.0f}/s"
            f"  p50{outcome.p50:>8,.2f}  p99{outcome.p99:>8,.2f}  p99.9{outcome.p999:>8,.2f} ms"
            f"  errors {outcome.errors}"
        )
        if outcome.delivered is not None:
            line += f"  delivery p50 {outcome.delivery_p50:,.2f}  p99 {outcome.delivery_p99:,.2f} ms"
        output.append(line + compared(outcome, against.get(outcome.scenario)))
        if outcome.cpu:
            parts = ", ".join(f"{part} {spent:,.0f}" for part, spent in outcome.cpu.items())
            share = f"{outcome.client_share:.0%} of it the load generator's"
            output.append(f"    CPU µs a request: {sum(outcome.cpu.values()):,.0f}, {share} ({parts})")
    output += [f"    {name}: {value:,g}" for name, value in result.figures.items()]
    disk = sum(result.disk.values()) / 2**20
    parts = ", ".join(f"{part} {size:,.0f}" for part, size in sorted(result.memory.items()))
    output.append(
        f"    memory {sum(result.memory.values()):,.0f} MiB (PSS: {parts}), disk {disk:,.0f} MiB, read models "
        + {True: "equal to their streams", False: f"DIFFER: {result.differences}", None: "not compared"}[result.equal]
    )
    return output


def compared(now: Outcome, then: Outcome | None) -> str:
    """The comparison with the previous run as text; empty if there was none."""
    if then is None or not then.per_second:
        return ""
    change = now.per_second / then.per_second - 1
    word = "as before" if abs(change) < NOISE else ("better" if change > 0 else "WORSE")
    return f"  [{change:+.0%} against {then.per_second:,.0f}/s, p99 {then.p99:,.1f} ms: {word}]"


def markdown(run: Run) -> str:
    """The run as a table for a page."""
    rows = [
        "| scenario | in flight | a second | p50 ms | p99 ms | p99.9 ms | delivery p50 / p99 ms | CPU µs | client |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in run.results:
        if result.skipped:
            rows.append(f"| {result.scenario} | | left out: {result.skipped} | | | | | | |")
        for outcome in result.outcomes:
            delivery = (
                f"{outcome.delivery_p50:,.1f} / {outcome.delivery_p99:,.1f}" if outcome.delivered is not None else ""
            )
            cpu = f"{sum(outcome.cpu.values()):,.0f} | {outcome.client_share:.0%}" if outcome.cpu else " | "
            rows.append(
                f"| {outcome.scenario} | {outcome.in_flight} | {outcome.per_second:,.0f} | {outcome.p50:,.2f}"
                f" | {outcome.p99:,.2f} | {outcome.p999:,.2f} | {delivery} | {cpu} |"
            )
    return "\n".join(rows) + "\n"
