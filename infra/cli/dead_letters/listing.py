"""Lists dead letters: of reactions from NATS, and of projections from the databases of their services."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from infra.cli.dead_letters.connections import database_connection, nats_connection
from infra.cli.dead_letters.reaction_letters import matches, reaction_letters
from infra.operator_errors import OperatorError
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.dead_letters import queries
from projections.engine.dead_letters.queries import DeadLetterFilter
from services.operator.dead_letters.parked_events import to_letter
from services.operator.dead_letters.views import Letter, of_discard, of_letter


async def list_letters(
    settings: Settings, letter_filter: DeadLetterFilter, reactions: tuple[str, ...] | None, *, discarded: bool
) -> AsyncGenerator[Letter, None]:
    """Yields the letters that pass the filter; `reactions`: their names, or None for all.

    Raises:
        OperatorError: those of reactions cannot be read; after all others.
    """
    failure: OperatorError | None = None
    if letter_filter.state != "parked" and reactions != ():
        try:
            async with (
                nats_connection(settings) as nc,
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
        async with database_connection(database_url) as conn:
            async for letter in queries.list_dead_letters(conn, letter_filter):
                yield of_letter(letter)


async def _discarded(settings: Settings, letter_filter: DeadLetterFilter) -> AsyncGenerator[Letter, None]:
    async with nats_connection(settings) as nc:
        for discard in await queries.discarded(nc, letter_filter):
            yield of_discard(discard)
