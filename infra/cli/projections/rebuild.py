"""`vestnik rebuild`: rebuilds read models from the streams, beside the live ones, and swaps them in."""

import sys
from datetime import UTC, datetime

import click
import msgspec

from infra.cli.output import tables
from infra.cli.params import Moment
from infra.cli.projections import as_of, drop_builds, rebuild_run
from infra.cli.system.accepted_losses import Loss
from infra.runtime.run_file import with_running_addresses
from infra.settings import Settings
from projections.registry import UnknownProjection, choose
from streams.loss.missing_events import Gap


@click.command()
@click.argument("names", metavar="PROJECTION...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every projection.")
@click.option("--back", is_flag=True, help="Go back to the build that was live before; once more goes forward again.")
@click.option(
    "--drop-old", is_flag=True, help="Drop what is kept for going back, and every other version that no service runs."
)
@click.option("--as-of", "moment", type=Moment(), help="Build the state at this time, events of then included.")
@click.option("--into", "schema", metavar="SCHEMA", help="The database schema that the state at a time is built into.")
@click.option("--replace", is_flag=True, help="Replace what --as-of has built into the schema before.")
@click.option(
    "--accept-loss",
    "losses",
    type=Loss(),
    multiple=True,
    help="Go on without these events, MESSAGING:7 or MESSAGING:7-9, which the stream has lost; recorded for good.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
@click.option("--progress-json", is_flag=True, help="Print the progress as JSON lines on standard error.")
def rebuild(
    names: tuple[str, ...],
    every: bool,
    back: bool,
    drop_old: bool,
    moment: datetime | None,
    schema: str | None,
    replace: bool,
    losses: tuple[Gap, ...],
    as_json: bool,
    progress_json: bool,
) -> None:
    """Rebuilds read models from their streams and swaps them in; reads are served all the while.

    Several are built at once. Ctrl-C stops it; the same command takes it up again where it was. The build that was
    live before is kept until the next rebuild, for --back; a version that was deployed before is kept until --drop-old.
    Where a stream has lost events they are named and nothing is swapped in, unless --accept-loss gives them up.
    With --as-of and --into the live read models are left alone, and their state at a time is built for inspection.
    """
    if bool(names) == every:
        raise click.UsageError("name the projections to rebuild, or say --all")
    if (moment is None) != (schema is None):
        raise click.UsageError("--as-of and --into go together")
    if sum((back, drop_old, moment is not None)) > 1:
        raise click.UsageError("--back, --drop-old and --as-of exclude each other")
    if replace and moment is None:
        raise click.UsageError("--replace goes with --as-of and --into")
    if losses and (drop_old or moment is not None):
        raise click.UsageError("--accept-loss goes with a rebuild of live read models")
    if moment is not None and moment > datetime.now(UTC):
        raise click.UsageError("--as-of lies ahead: nobody knows what will have happened by then")
    try:
        projections = choose(names)
    except UnknownProjection as error:
        raise click.ClickException(str(error)) from error
    settings = with_running_addresses(Settings.load())
    console = tables.console(stderr=True)
    outcome: rebuild_run.Rebuilds | drop_builds.Drops | as_of.States
    if drop_old:
        outcome = drop_builds.run(settings, projections, every, console)
    elif moment is not None and schema is not None:
        outcome = as_of.run(settings, projections, moment, schema, replace, console)
    else:
        outcome = rebuild_run.run(settings, projections, back, losses, console, progress_json)
    if as_json:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    if not outcome.complete:
        sys.exit(1)
