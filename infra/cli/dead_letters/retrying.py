"""Retries dead letters: the selected ones are all checked before the first is retried."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import click
from nats.aio.client import Client as NATS

from infra.cli.actions.recording import acting
from infra.cli.dead_letters.connections import PATIENCE, database_connection, nats_connection
from infra.cli.dead_letters.reaction_letters import parked_events, reaction_letters
from infra.cli.dead_letters.selection import projection_of
from infra.operator_errors import OperatorError
from infra.runtime.run_file import with_running_addresses
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.dead_letters import discards, resolution
from projections.engine.dead_letters.outcomes import Retried
from projections.engine.dead_letters.queries import DeadLetterRow
from projections.engine.dead_letters.retry import retry_all
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import LetterId
from services.operator.dead_letters.parked_events import ReactionLetters
from streams.log import Log
from streams.reactions.parked import ParkedEvent, ParkedId


async def retry_selected(
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
            projection = projection_of(selector) if isinstance(selector, LetterId) else selector
            by_url.setdefault(owners.url(projection.run_by()), []).append(selector)
    async with AsyncExitStack() as stack:
        nc = await stack.enter_async_context(nats_connection(settings))
        reactions = reaction_letters(nc)
        waiting, refused = await _waiting(reactions, parked)
        chosen: list[tuple[Connection, list[tuple[type[Projection], DeadLetterRow]]]] = []
        # All are checked before any is retried, so that a typo changes nothing.
        for database_url, selectors in by_url.items():
            conn = await stack.enter_async_context(database_connection(database_url))
            chosen.append((conn, [letter for selector in selectors for letter in await _heads(conn, nc, selector)]))
        log = Log(nc, patience=PATIENCE)
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
        return [(projection_of(selector), await resolution.retryable_letter(conn, selector))]
    return [(selector, letter) for letter in await resolution.first_failures(conn, selector)]
