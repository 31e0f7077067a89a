"""The part of `vestnik dead-letters` about reactions: ids, names, and the parked events that a command means."""

import click
from nats.aio.client import Client as NATS

from projections.engine.dead_letters.queries import DeadLetterFilter
from projections.engine.storage.dead_letters import LetterId
from services.operator.dead_letters.parked_events import REACTIONS, ReactionLetters
from services.operator.dead_letters.views import Letter
from streams.reactions.parked import ParkedEvent, ParkedId

# Seconds to wait for the event store, and for the outcome of a retry.
_PATIENCE = 5.0
_RETRIED_WITHIN = 30.0

AnyId = LetterId | ParkedId


class Id(click.ParamType[AnyId]):
    """The id of a dead letter, as `list` prints it."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> AnyId:
        if isinstance(value, LetterId | ParkedId):
            return value
        text = str(value)
        try:
            return ParkedId.parse(text) if text.count(".") == 2 else LetterId.parse(text)
        except ValueError:
            examples = "conversations.v1.b2.MESSAGING.17 or profile-creation.AUTH.17"
            self.fail(f"{value!r} is not the id of a dead letter, such as {examples}", param, ctx)


def reaction_letters(nc: NATS) -> ReactionLetters:
    return ReactionLetters(nc, patience=_PATIENCE, retried_within=_RETRIED_WITHIN)


def matches(letter: Letter, letter_filter: DeadLetterFilter) -> bool:
    """Whether a reaction's letter passes the filter's type and aggregate."""
    return letter_filter.type in (None, letter.type) and letter_filter.aggregate_id in (None, letter.aggregate_id)


async def parked_events(
    reactions: ReactionLetters, parked: tuple[ParkedId, ...] | tuple[str, ...] | None
) -> list[ParkedEvent]:
    """The events to retry: those of the ids, those of the named reactions, or with None all.

    Raises:
        OperatorError: one of the ids is not of an event that can be retried.
    """
    ids = [selector for selector in parked or () if isinstance(selector, ParkedId)]
    if ids or parked == ():
        return [await reactions.retryable(parked_id) for parked_id in ids]
    names = None if parked is None else [str(name) for name in parked]
    return [event async for event in reactions.list(names)]


def parted(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The names of projections, and those of reactions; without any name, None for all reactions."""
    if not names:
        return (), None
    return tuple(name for name in names if name not in REACTIONS), tuple(name for name in names if name in REACTIONS)
