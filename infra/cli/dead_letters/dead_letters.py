"""`vestnik dead-letters`: lists, shows, retries and discards events that a projection could not apply, or a reaction
has parked.
"""

import asyncio
import sys
from contextlib import aclosing

import click
import msgspec
from rich.console import Console

from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting, look
from infra.cli.dead_letters.connections import PATIENCE, database_of, nats_connection
from infra.cli.dead_letters.listing import list_letters
from infra.cli.dead_letters.output import line, print_letter, print_retried
from infra.cli.dead_letters.reaction_letters import AnyId, Id, parted, reaction_letters
from infra.cli.dead_letters.retrying import retry_selected
from infra.cli.dead_letters.selection import projection_of
from infra.cli.events.events import Aggregate
from infra.cli.output import tables
from infra.cli.output.tables import literal
from infra.runtime.run_file import with_running_addresses
from infra.security.operator_accounts import Operators
from infra.settings import Settings
from projections.engine.dead_letters import queries, resolution
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.outcomes import Retried
from projections.engine.dead_letters.queries import DeadLetterFilter
from projections.engine.dead_letters.retry import retry_behind
from projections.engine.storage.dead_letters import LetterId
from projections.registry import choose
from services.operator.dead_letters.views import LetterWithEvent, event_of, of_discard, of_letter, with_operator
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.reactions.parked import ParkedId


class Retries(msgspec.Struct, frozen=True):
    retried: list[Retried]


class Discards(msgspec.Struct, frozen=True):
    """A discarded event, and the retry of those that waited behind it."""

    id: str
    reason: str
    by: str
    retried: Retried


@click.group("dead-letters")
def dead_letters() -> None:
    """Manages dead letters: events that a projection could not apply, later ones of the same aggregates or folded
    rows, and events that a reaction has parked.
    """


@dead_letters.command("list")
@click.argument("names", metavar="[PROJECTION|REACTION]...", nargs=-1)
@click.option(
    "--state",
    type=click.Choice(["failed", "parked", "discarded"]),
    help="Only these; by default all except discarded ones. Events that a reaction has parked are `failed`, or"
    " `retrying`; `parked` ones wait for a failed one of a projection.",
)
@click.option("--type", "event_type", metavar="TYPE", help="Only events of this type, such as `message.sent`.")
@click.option("--aggregate", type=Aggregate(), help="Only events of this aggregate.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_(
    names: tuple[str, ...], state: str | None, event_type: str | None, aggregate: str | None, as_json: bool
) -> None:
    """Lists dead letters of the reactions, and of the builds in use, grouped by aggregate or folded row and in order.

    Those of reactions are shown without PostgreSQL, too.
    """
    projections, reactions = parted(names)
    letter_filter = DeadLetterFilter(
        projections=[projection.name for projection in choose(projections)] if projections else [] if names else None,
        state=None if state == "discarded" else state,
        type=event_type,
        aggregate_id=aggregate,
    )
    discarded = state == "discarded"
    asyncio.run(_list(Settings.load(), letter_filter, reactions, discarded=discarded, as_json=as_json))


async def _list(
    settings: Settings,
    letter_filter: DeadLetterFilter,
    reactions: tuple[str, ...] | None,
    *,
    discarded: bool,
    as_json: bool,
) -> None:
    settings = with_running_addresses(settings)
    console, any_at_all, operators = Console(soft_wrap=True), False, Operators(settings.secrets_path)
    async with aclosing(list_letters(settings, letter_filter, reactions, discarded=discarded)) as letters:
        async for unnamed in letters:
            any_at_all, letter = True, with_operator(unnamed, operators.name_of)
            if as_json:
                sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")
            else:
                console.print(line(letter))
    if not any_at_all and not as_json:
        click.echo("no dead letters", err=True)


@dead_letters.command()
@click.argument("letter_id", metavar="ID", type=Id())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(letter_id: AnyId, as_json: bool) -> None:
    """Shows a dead letter: the stored event (a private one without its data), the error, and the number of events that
    wait for it.
    """
    settings = Settings.load()
    letter = with_operator(asyncio.run(_show(settings, letter_id)), Operators(settings.secrets_path).name_of)
    if as_json:
        sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")
    else:
        print_letter(letter, Console())


async def _show(settings: Settings, letter_id: AnyId) -> LetterWithEvent:
    settings = with_running_addresses(settings)
    if isinstance(letter_id, ParkedId):
        async with nats_connection(settings) as nc:
            await look(settings, nc, "dead_letter", target=str(letter_id))
            return await reaction_letters(nc).get(letter_id, raw=True)
    async with nats_connection(settings) as nc, database_of(settings, nc, projection_of(letter_id)) as conn:
        await look(settings, nc, "dead_letter", target=str(letter_id))
        row = await queries.get_dead_letter(conn, letter_id)
        event, why = await event_of(JetStream(nc, patience=PATIENCE), row)
    letter = of_discard(row) if isinstance(row, Discarded) else of_letter(row)
    return LetterWithEvent(**msgspec.structs.asdict(letter), event=event, event_error=why)


@dead_letters.command()
@click.argument("names", metavar="[PROJECTION|REACTION]...", nargs=-1)
@click.option("--id", "letter_ids", type=Id(), multiple=True, help="Only this one and those that wait for it.")
@click.option("--reason", type=Reason(), help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def retry(names: tuple[str, ...], letter_ids: tuple[AnyId, ...], reason: str | None, as_json: bool) -> None:
    """Retries dead letters with the current code, and then those that wait for them; default: all.

    Services keep running. Each aggregate is retried separately: events that were applied stay applied, and the first
    one that fails again waits with the rest. Events of a reaction are each attempted once, by its service. The exit
    code is 1 if any dead letter is left.
    """
    if names and letter_ids:
        raise click.UsageError("name projections, reactions or ids, not both")
    settings = Settings.load()
    projection_names, reactions = parted(names)
    projections = [] if names and not projection_names else choose(projection_names, settings.read_model_services)
    of_projections = tuple(letter_id for letter_id in letter_ids if isinstance(letter_id, LetterId))
    of_reactions = tuple(letter_id for letter_id in letter_ids if isinstance(letter_id, ParkedId))
    for letter_id in of_projections:
        projection_of(letter_id)
    target = ",".join(map(str, letter_ids)) or ",".join(names) or "all"
    selected = of_projections if letter_ids else projections
    parked = of_reactions if letter_ids else reactions
    retried = asyncio.run(retry_selected(settings, selected, parked, target, reason))
    if as_json:
        sys.stdout.write(msgspec.json.encode(Retries(retried)).decode() + "\n")
    else:
        for result in retried:
            print_retried(result, tables.console(stderr=True))
        if not retried:
            click.echo("no dead letters", err=True)
    if any(result.outcome != "applied" for result in retried):
        sys.exit(1)


@dead_letters.command()
@click.argument("letter_id", metavar="ID", type=Id())
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--by", help="Who decides it; default: the user logged in to this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def discard(letter_id: AnyId, reason: str, by: str | None, as_json: bool) -> None:
    """Discards an event: this version of the read model skips it permanently, in every rebuild too, or the reaction
    never does its effect.

    Events that wait for it are retried immediately. The event stays in its stream, and a later version of the
    projection handles it again.
    """
    done = asyncio.run(_discard(Settings.load(), letter_id, reason, by))
    if as_json:
        sys.stdout.write(msgspec.json.encode(done).decode() + "\n")
        return
    console = tables.console(stderr=True)
    console.print(f"[yellow]discarded[/] {done.id} by {literal(done.by)}: {literal(done.reason)}")
    if done.retried.applied or done.retried.left:
        print_retried(done.retried, console)


async def _discard(settings: Settings, letter_id: AnyId, reason: str, by: str | None) -> Discards:
    if isinstance(letter_id, ParkedId):
        return await _discard_parked(with_running_addresses(settings), letter_id, reason, by)
    projection = projection_of(letter_id)
    settings = with_running_addresses(settings)
    async with nats_connection(settings) as nc, database_of(settings, nc, projection) as conn:
        log = Log(nc, patience=PATIENCE)
        letter = await resolution.retryable_letter(conn, letter_id)
        async with acting(settings, nc, "dead_letter.discard", by=by, target=str(letter_id), reason=reason) as act:
            await resolution.discard(conn, log, letter, reason, act.actor.name)
            # The discard is final, whatever the outcome for those behind it.
            act.is_final = True
            behind = await retry_behind(conn, log, projection, letter)
            return Discards(str(letter_id), reason, act.actor.name, behind)


async def _discard_parked(settings: Settings, parked_id: ParkedId, reason: str, by: str | None) -> Discards:
    async with nats_connection(settings) as nc:
        reactions = reaction_letters(nc)
        parked = await reactions.retryable(parked_id)
        async with acting(settings, nc, "dead_letter.discard", by=by, target=str(parked_id), reason=reason) as act:
            discarded = await reactions.discard(parked, reason, act.actor.name)
            return Discards(str(parked_id), reason, act.actor.name, discarded)
