"""`vestnik dead-letters`: lists, shows, retries and discards events that a projection could not apply, or a reaction
has parked.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import click
import msgspec
from nats.aio.client import Client as NATS
from psycopg import Error as DatabaseError
from rich.console import Console
from rich.markup import escape

from contracts.services import SERVICES
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting, look
from infra.cli.events.events import Aggregate
from infra.cli.output import tables
from infra.cli.projections.dead_letter_output import line, print_letter, print_retried
from infra.cli.projections.reaction_letters import AnyId, Id, matches, parked_events, parted, reaction_letters
from infra.cli.reader_connection import connect_reader
from infra.operator_errors import OperatorError
from infra.runtime.run_file import with_running_addresses
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.dead_letters import discards, queries, resolution
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.outcomes import Retried
from projections.engine.dead_letters.queries import DeadLetterFilter, DeadLetterRow
from projections.engine.dead_letters.retry import retry_all, retry_behind
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect, database_unavailable
from projections.engine.storage.dead_letters import LetterId
from projections.engine.storage.schema import ensure_schema
from projections.registry import UnknownProjection, choose
from services.operator.dead_letters.parked_events import ReactionLetters, to_letter
from services.operator.dead_letters.views import Letter, LetterWithEvent, event_of, of_discard, of_letter
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.reactions.parked import ParkedEvent, ParkedId

# Seconds to wait for a stream, while the build's writer may be waiting for this command.
_PATIENCE = 5.0


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
        projections=[projection.name for projection in _chosen(projections)] if projections else [] if names else None,
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
    console, any_at_all = Console(soft_wrap=True), False
    async with aclosing(_found(settings, letter_filter, reactions, discarded=discarded)) as letters:
        async for letter in letters:
            any_at_all = True
            if as_json:
                sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")
            else:
                console.print(line(letter))
    if not any_at_all and not as_json:
        click.echo("no dead letters", err=True)


async def _found(
    settings: Settings, letter_filter: DeadLetterFilter, reactions: tuple[str, ...] | None, *, discarded: bool
) -> AsyncGenerator[Letter, None]:
    """
    Raises:
        OperatorError: those of reactions cannot be read; after all others.
    """
    failure: OperatorError | None = None
    if letter_filter.state != "parked" and reactions != ():
        try:
            async with (
                _nats(settings) as nc,
                aclosing(reaction_letters(nc).list(reactions, discarded=discarded)) as events,
            ):
                async for parked in events:
                    if matches(letter := to_letter(parked), letter_filter):
                        yield letter
        except OperatorError as error:
            failure = error
    if letter_filter.projections != []:
        async with aclosing(
            _discarded(settings, letter_filter) if discarded else _kept(settings, letter_filter)
        ) as letters:
            async for letter in letters:
                yield letter
    if failure is not None:
        raise failure


async def _kept(settings: Settings, letter_filter: DeadLetterFilter) -> AsyncGenerator[Letter, None]:
    for database_url in (await ServiceSchemas.discover(settings.database_url)).urls():
        async with _database(database_url) as conn:
            async for letter in queries.list_dead_letters(conn, letter_filter):
                yield of_letter(letter)


async def _discarded(settings: Settings, letter_filter: DeadLetterFilter) -> AsyncGenerator[Letter, None]:
    async with _nats(settings) as nc:
        for discard in await queries.discarded(nc, letter_filter):
            yield of_discard(discard)


@dead_letters.command()
@click.argument("letter_id", metavar="ID", type=Id())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(letter_id: AnyId, as_json: bool) -> None:
    """Shows a dead letter: the stored event (a private one without its data), the error, and the number of events that
    wait for it.
    """
    letter = asyncio.run(_show(Settings.load(), letter_id))
    if as_json:
        sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")
    else:
        print_letter(letter, Console())


async def _show(settings: Settings, letter_id: AnyId) -> LetterWithEvent:
    settings = with_running_addresses(settings)
    if isinstance(letter_id, ParkedId):
        async with _nats(settings) as nc:
            await look(settings, nc, "dead_letter", target=str(letter_id))
            return await reaction_letters(nc).get(letter_id, raw=True)
    async with _nats(settings) as nc, _connected(settings, nc, _projection(letter_id)) as conn:
        await look(settings, nc, "dead_letter", target=str(letter_id))
        row = await queries.get_dead_letter(conn, letter_id)
        event, why = await event_of(JetStream(nc, patience=_PATIENCE), row)
    letter = of_discard(row) if isinstance(row, Discarded) else of_letter(row)
    return LetterWithEvent(**msgspec.structs.asdict(letter), event=event, event_error=why)


@dead_letters.command()
@click.argument("names", metavar="[PROJECTION|REACTION]...", nargs=-1)
@click.option("--id", "letter_ids", type=Id(), multiple=True, help="Only this one and those that wait for it.")
@click.option("--reason", type=Reason(), help="The reason; recorded permanently.")
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
    projections = [] if names and not projection_names else _chosen(projection_names, settings.read_model_services)
    of_projections = tuple(letter_id for letter_id in letter_ids if isinstance(letter_id, LetterId))
    of_reactions = tuple(letter_id for letter_id in letter_ids if isinstance(letter_id, ParkedId))
    for letter_id in of_projections:
        _projection(letter_id)
    target = ",".join(map(str, letter_ids)) or ",".join(names) or "all"
    selected = of_projections if letter_ids else projections
    parked = of_reactions if letter_ids else reactions
    retried = asyncio.run(_retry(settings, selected, parked, target, reason))
    if as_json:
        sys.stdout.write(msgspec.json.encode(Retries(retried)).decode() + "\n")
    else:
        for result in retried:
            print_retried(result, tables.console(stderr=True))
        if not retried:
            click.echo("no dead letters", err=True)
    if any(result.outcome != "applied" for result in retried):
        sys.exit(1)


async def _retry(
    settings: Settings,
    selectors: Sequence[LetterId | type[Projection]],
    parked: tuple[ParkedId, ...] | tuple[str, ...] | None,
    target: str,
    reason: str | None,
) -> list[Retried]:
    """`parked`: ids of parked events, or names of reactions; None: all."""
    settings = with_running_addresses(settings)
    by_url: dict[str, list[LetterId | type[Projection]]] = {}
    if selectors:
        owners = await ServiceSchemas.discover(settings.database_url)
        for selector in selectors:
            projection = _projection(selector) if isinstance(selector, LetterId) else selector
            by_url.setdefault(owners.url(projection.run_by()), []).append(selector)
    async with AsyncExitStack() as stack:
        nc = await stack.enter_async_context(_nats(settings))
        reactions = reaction_letters(nc)
        waiting, refused = await _waiting(reactions, parked)
        chosen: list[tuple[Connection, list[tuple[type[Projection], DeadLetterRow]]]] = []
        # All are checked before any is retried, so that a typo changes nothing.
        for database_url, selectors in by_url.items():
            conn = await stack.enter_async_context(_database(database_url))
            chosen.append((conn, [letter for selector in selectors for letter in await _heads(conn, nc, selector)]))
        log = Log(nc, patience=_PATIENCE)
        async with acting(settings, nc, "dead_letter.retry", target=target, reason=reason) as act:
            retried = [outcome for conn, letters in chosen for outcome in await retry_all(conn, log, letters)]
            retried += [await reactions.retry(event) for event in waiting] + refused
            left = [outcome.id for outcome in retried if outcome.outcome != "applied"]
            if left:
                act.ends("failed", f"not applied: {', '.join(left)}")
            return retried


async def _waiting(
    reactions: ReactionLetters, parked: tuple[ParkedId, ...] | tuple[str, ...] | None
) -> tuple[list[ParkedEvent], list[Retried]]:
    """The parked events to retry. If they are all and cannot be read, the refusal: dead letters of projections can be
    retried nevertheless.
    """
    try:
        return await parked_events(reactions, parked), []
    except OperatorError as failure:
        if parked is not None:
            raise
        click.echo(f"vestnik: {failure}", err=True)
        refused = Retried(id="reactions", outcome="refused", applied=0, left=0, failed_id=None, reason=str(failure))
        return [], [refused]


async def _heads(
    conn: Connection, nc: NATS, selector: LetterId | type[Projection]
) -> list[tuple[type[Projection], DeadLetterRow]]:
    await discards.catch_up(conn, nc, selector.projection if isinstance(selector, LetterId) else selector.name)
    if isinstance(selector, LetterId):
        return [(_projection(selector), await resolution.retryable_letter(conn, selector))]
    return [(selector, letter) for letter in await resolution.first_failures(conn, selector)]


@dead_letters.command()
@click.argument("letter_id", metavar="ID", type=Id())
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently.")
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
    console.print(f"[yellow]discarded[/] {done.id} by {escape(done.by)}: {escape(done.reason)}")
    if done.retried.applied or done.retried.left:
        print_retried(done.retried, console)


async def _discard(settings: Settings, letter_id: AnyId, reason: str, by: str | None) -> Discards:
    if isinstance(letter_id, ParkedId):
        return await _discard_parked(with_running_addresses(settings), letter_id, reason, by)
    projection = _projection(letter_id)
    settings = with_running_addresses(settings)
    async with _nats(settings) as nc, _connected(settings, nc, projection) as conn:
        log = Log(nc, patience=_PATIENCE)
        letter = await resolution.retryable_letter(conn, letter_id)
        async with acting(settings, nc, "dead_letter.discard", by=by, target=str(letter_id), reason=reason) as act:
            await resolution.discard(conn, log, letter, reason, act.actor.name)
            # The discard is final, whatever the outcome for those behind it.
            act.is_final = True
            behind = await retry_behind(conn, log, projection, letter)
            return Discards(str(letter_id), reason, act.actor.name, behind)


async def _discard_parked(settings: Settings, parked_id: ParkedId, reason: str, by: str | None) -> Discards:
    async with _nats(settings) as nc:
        reactions = reaction_letters(nc)
        parked = await reactions.retryable(parked_id)
        async with acting(settings, nc, "dead_letter.discard", by=by, target=str(parked_id), reason=reason) as act:
            discarded = await reactions.discard(parked, reason, act.actor.name)
            return Discards(str(parked_id), reason, act.actor.name, discarded)


def _chosen(names: tuple[str, ...], services: Collection[str] = SERVICES) -> list[type[Projection]]:
    try:
        return choose(names, services)
    except UnknownProjection as error:
        raise click.ClickException(str(error)) from error


def _projection(letter_id: LetterId) -> type[Projection]:
    (projection,) = _chosen((letter_id.projection,))
    return projection


@asynccontextmanager
async def _connected(settings: Settings, nc: NATS, projection: type[Projection]) -> AsyncIterator[Connection]:
    """Connects to the database for the projection's service, after applying recorded discards."""
    owners = await ServiceSchemas.discover(settings.database_url)
    async with _database(owners.url(projection.run_by())) as conn:
        await discards.catch_up(conn, nc, projection.name)
        yield conn


@asynccontextmanager
async def _database(database_url: str) -> AsyncIterator[Connection]:
    conn = await connect(database_url, "vestnik dead-letters")
    try:
        await ensure_schema(conn)
        yield conn
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await conn.close()


@asynccontextmanager
async def _nats(settings: Settings) -> AsyncIterator[NATS]:
    nc = await connect_reader(settings, "operator-dead-letters", patience=_PATIENCE)
    try:
        yield nc
    finally:
        await nc.close()
