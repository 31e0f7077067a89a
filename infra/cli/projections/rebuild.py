"""`vestnik rebuild`: rebuilds read models from the streams, beside the live ones, and swaps them in."""

import sys
from datetime import UTC, datetime

import click
import msgspec

from infra.cli.actions.identity import Reason
from infra.cli.output import tables
from infra.cli.params import Moment
from infra.cli.projections import as_of, drop_builds, rebuild_key, rebuild_run
from infra.cli.system.accepted_losses import Loss
from infra.runtime.run_file import with_running_addresses
from infra.settings import Settings
from projections.registry import choose
from streams.loss.missing_events import Gap


@click.command()
@click.argument("names", metavar="PROJECTION...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every projection.")
@click.option(
    "--back", is_flag=True, help="Switch back to the previous live build; a second --back switches forward again."
)
@click.option(
    "--drop-old", is_flag=True, help="Drop the builds kept for --back, and every version that no service runs."
)
@click.option(
    "--as-of", "moment", type=Moment(), help="Build the state at this time, including events at exactly this time."
)
@click.option("--into", "schema", metavar="SCHEMA", help="The database schema for the state of --as-of.")
@click.option("--replace", is_flag=True, help="Replace an earlier result of --as-of in the schema.")
@click.option(
    "--only",
    metavar="KEY",
    help="Rebuild only the rows of this key, in place: an id, or the key of a folded row as TABLE:VALUE,VALUE.",
)
@click.option(
    "--rate",
    metavar="N",
    type=click.IntRange(min=1),
    help="Apply at most N events a second of each read model; more than are appended, or it never catches up.",
)
@click.option(
    "--accept-loss",
    "losses",
    type=Loss(),
    multiple=True,
    help="Continue without these lost events, such as MESSAGING:7 or MESSAGING:7-9; recorded permanently.",
)
@click.option(
    "--reason",
    type=Reason(),
    help="The reason, recorded permanently in plain form; needed for --drop-old and --accept-loss.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("--progress-json", is_flag=True, help="Print progress as JSON lines to standard error.")
@click.option("--action", hidden=True, help="The id of this act, which the page has recorded.")
def rebuild(
    names: tuple[str, ...],
    every: bool,
    back: bool,
    drop_old: bool,
    moment: datetime | None,
    schema: str | None,
    replace: bool,
    only: str | None,
    rate: int | None,
    losses: tuple[Gap, ...],
    reason: str | None,
    as_json: bool,
    progress_json: bool,
    action: str | None,
) -> None:
    """Rebuilds read models from their streams and switches to them; reads continue meanwhile.

    Several are built at once. Ctrl-C stops it; the same command resumes. The previous live build is kept until the next
    rebuild, for --back; a previously deployed version is kept until --drop-old. If a stream has lost events, they are
    named and no switch happens, unless --accept-loss accepts the loss. With --as-of and --into the live read models are
    unchanged, and their state at a past time is built for inspection. With --only the rows of one key are replaced in
    the live read model.
    """
    if bool(names) == every:
        raise click.UsageError("name the projections to rebuild, or use --all")
    if (moment is None) != (schema is None):
        raise click.UsageError("--as-of and --into need each other")
    if sum((back, drop_old, moment is not None)) > 1:
        raise click.UsageError("--back, --drop-old and --as-of cannot be combined")
    if replace and moment is None:
        raise click.UsageError("--replace needs --as-of and --into")
    if losses and (drop_old or moment is not None):
        raise click.UsageError("--accept-loss applies only to a rebuild of live read models")
    if only is not None and (every or len(names) > 1):
        raise click.UsageError("--only needs the name of one projection")
    if only is not None and (back or drop_old or moment is not None or losses or rate is not None):
        raise click.UsageError("--only cannot be combined with other ways of rebuilding")
    if rate is not None and (drop_old or moment is not None):
        raise click.UsageError("--rate applies only to a rebuild of live read models")
    if (drop_old or losses) and reason is None:
        raise click.UsageError("--drop-old and --accept-loss need a --reason")
    if moment is not None and reason is not None:
        raise click.UsageError("--as-of takes no --reason: it is recorded as a look")
    if moment is not None and moment > datetime.now(UTC):
        raise click.UsageError("--as-of is in the future")
    settings = Settings.load()
    projections = choose(names, settings.read_model_services)
    settings = with_running_addresses(settings)
    console = tables.console(stderr=True)
    outcome: rebuild_run.Rebuilds | rebuild_key.RebuiltKeys | drop_builds.Drops | as_of.States
    target = "all" if every else ",".join(names)
    if only is not None:
        outcome = rebuild_key.run(settings, projections[0], only, console, progress_json, reason, action)
    elif drop_old:
        outcome = drop_builds.run(settings, projections, every, console, target, reason)
    elif moment is not None and schema is not None:
        outcome = as_of.run(settings, projections, moment, schema, replace, console, target)
    else:
        outcome = rebuild_run.run(
            settings,
            projections,
            rebuild_run.Order(
                back=back, losses=losses, most_per_second=rate, target=target, reason=reason, action_id=action
            ),
            console,
            progress_json,
        )
    if as_json:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    if not outcome.complete:
        sys.exit(1)
