"""`vestnik verify`: compares read models with a rebuild from their streams, row for row; or checks the streams."""

import sys

import click
import msgspec
import uvloop
from rich.console import Console

from contracts.subjects import STREAMS
from infra.cli.actions.recording import acting
from infra.cli.output import tables
from infra.cli.output.projection_progress import shown
from infra.cli.output.tables import literal
from infra.cli.parallel import Failed, run_each
from infra.cli.projections.verify_streams import verify_streams
from infra.cli.reader_connection import connect_reader
from infra.runtime.run_file import with_running_addresses
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.inspection.table_diff import Difference
from projections.engine.inspection.verify import Verdict
from projections.engine.inspection.verify import verify as verify_one
from projections.engine.projection import Projection
from projections.registry import choose

_LONGEST_VALUE = 60
# Most gaps that are named.
_LOST = 10


class Verdicts(msgspec.Struct, frozen=True):
    # Whether every read model is equal; one that could not be compared is not.
    equal: bool
    projections: list[Verdict]
    failed: list[Failed]


@click.command()
@click.argument("names", metavar="[PROJECTION]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--progress-json", is_flag=True, help="Print progress as JSON lines to standard error.")
@click.option("--streams", "whole", is_flag=True, help="Read and check every event of the streams instead.")
@click.option(
    "--stream",
    "streams",
    type=click.Choice(list(STREAMS)),
    multiple=True,
    help="As --streams, of this stream only; may be repeated.",
)
@click.option("--action", hidden=True, help="The id of this act, which the page has recorded.")
def verify(
    names: tuple[str, ...],
    as_json: bool,
    progress_json: bool,
    whole: bool,
    streams: tuple[str, ...],
    action: str | None,
) -> None:
    """Rebuilds read models as shadow builds and compares them with the live ones; default: all.

    The system may be running; several are compared at once. The exit code is 1 if any differs or could not be compared;
    the first differences of each are shown.

    With --streams every event is read: each must be there, readable, on the subject of its aggregate and the next
    version of it, with an id and headers of its own. The system may be running or stopped. The exit code is 1 if
    anything is wrong; the first faults of each stream are named.
    """
    if whole or streams:
        if names or progress_json:
            raise click.UsageError("--streams and --stream take neither a PROJECTION nor --progress-json")
        verify_streams(streams or tuple(STREAMS), as_json=as_json)
        return
    settings = Settings.load()
    projections = choose(names, settings.read_model_services)
    console = tables.console(stderr=True)
    target = ",".join(names) or "all"
    running = with_running_addresses(settings)
    outcome = uvloop.run(_run(running, projections, target, console, progress_json, action))
    if as_json:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    else:
        for verdict in outcome.projections:
            _print(verdict, console)
    for failed in outcome.failed:
        console.print(f"[red]{literal(failed.line())}[/]", soft_wrap=True)
    if not outcome.equal:
        sys.exit(1)


async def _run(
    settings: Settings,
    projections: list[type[Projection]],
    target: str,
    console: Console,
    progress_json: bool,
    action: str | None,
) -> Verdicts:
    owners = await ServiceSchemas.discover(settings.database_url)
    nc = await connect_reader(settings, "operator-verify", patience=5.0)
    try:
        async with acting(settings, nc, "read_model.verify", target=target, recorded_as=action) as act:
            with shown(console, progress_json) as bars:

                async def one(projection: type[Projection]) -> Verdict:
                    database_url = owners.url(projection.run_by())
                    return await verify_one(projection, nc, database_url, bars.add(projection.name))

                verdicts, failed = await run_each(projections, one)
            if failed:
                act.ends("failed", "; ".join(failure.line() for failure in failed))
    finally:
        await nc.close()
    equal = not failed and all(verdict.equal for verdict in verdicts)
    return Verdicts(equal, verdicts, failed)


def _print(verdict: Verdict, console: Console) -> None:
    letters = _letters(verdict)
    letters += f"; {verdict.discarded} events are discarded" if verdict.discarded else ""
    letters += f"; accepted as lost: {verdict.lost_accepted:,}" if verdict.lost_accepted else ""
    if verdict.equal:
        console.print(
            f"[green]{verdict.projection}[/] equal: {verdict.rows:,} rows, {verdict.events:,} events,"
            f" {verdict.seconds:,.1f} s{letters}"
        )
        return
    if verdict.lost:
        console.print(
            f"[red]{verdict.projection}[/] lacks events that its streams have lost: {', '.join(verdict.lost[:_LOST])}"
            f"{' …' if len(verdict.lost) > _LOST else ''}; see docs/runbooks/lost-events.md",
            soft_wrap=True,
        )
    if not verdict.differences:
        return
    console.print(
        f"[red]{verdict.projection}[/] differs: {verdict.changed:,} rows changed, {verdict.missing:,} missing, "
        f"{verdict.extra:,} extra, of {verdict.rows:,}{letters}"
    )
    for difference in verdict.differences:
        console.print(f"  {literal(_line(difference))}")
    named = len(verdict.differences)
    if (unnamed := verdict.changed + verdict.missing + verdict.extra - named) > 0:
        console.print(f"  and {unnamed:,} more")


def _letters(verdict: Verdict) -> str:
    if not verdict.dead_letters and not verdict.dead_letters_rebuilt:
        return ""
    now = "" if verdict.dead_letters == verdict.dead_letters_rebuilt else f" ({verdict.dead_letters_rebuilt:,} now)"
    return f"; {verdict.dead_letters:,} events could not be applied{now}: `vestnik dead-letters list` names them"


def _line(difference: Difference) -> str:
    key = ", ".join(f"{column}={value}" for column, value in difference.key.items())
    columns = ", ".join(
        f"{column}: live {_short(live)}, rebuilt {_short(rebuilt)}"
        for column, (live, rebuilt) in difference.columns.items()
    )
    return f"{difference.kind} row of {difference.table} ({key}): {columns}"


def _short(value: str | None) -> str:
    if value is None:
        return "null"
    return repr(value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "…")
