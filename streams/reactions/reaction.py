"""The base class of reactions: a durable consumer, how often a failed effect is attempted, and the effects by event.

The rest is the reactor's: delivery to one of all replicas, retries, parking, traces.
"""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

from nats.aio.client import Client

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.durable_consumers import Durable
from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.subjects import passes
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import DEFAULT_RETRIES, Retries

Marked = TypeVar("Marked", bound=Callable[..., Awaitable[None]])
_EVENTS = "__reacts_to__"


def reacts_to(*events: type[Event]) -> Callable[[Marked], Marked]:
    """Marks a method as the effect of these events."""

    def mark(method: Marked) -> Marked:
        setattr(method, _EVENTS, events)
        return method

    return mark


class Reaction:
    """One reaction. Its effects are idempotent, and tolerate events of one aggregate out of order.

    Attributes:
        durable: the consumer, one of contracts/durable_consumers.py: name, service, stream, filter, its begin.
        at_once: concurrent effects in one process.
        ack_wait: seconds after which an event of a failed process is redelivered to another.
        retries: how often a failed effect is attempted before its event is parked.
    """

    durable: ClassVar[Durable]
    at_once: ClassVar[int] = 4
    ack_wait: ClassVar[float] = 30.0
    retries: ClassVar[Retries] = DEFAULT_RETRIES

    async def run(self, nc: Client) -> None:
        """Reacts until cancelled."""
        effects = self.effects()

        async def react(event: Recorded[Any]) -> None:
            effect = effects.get(event.type)
            if effect is not None:
                await effect(event)

        await EventReactor(
            nc, self.durable, react, at_once=self.at_once, ack_wait=self.ack_wait, retries=self.retries
        ).run()

    def effects(self) -> dict[str, Callable[[Recorded[Any]], Awaitable[None]]]:
        """Event types mapped to their effects.

        Raises:
            ValueError: an event has two effects, or the consumer never delivers it.
        """
        effects: dict[str, Callable[[Recorded[Any]], Awaitable[None]]] = {}
        for name in dict.fromkeys(name for kind in reversed(type(self).__mro__) for name in vars(kind)):
            method = getattr(self, name, None)
            events: tuple[type[Event], ...] = getattr(method, _EVENTS, ())
            for event in events:
                assert method is not None
                if event.TYPE in effects:
                    raise ValueError(f"{type(self).__name__}.{name}: {event.TYPE} has two effects")
                if not _is_delivered(event, self.durable):
                    raise ValueError(
                        f"{type(self).__name__}.{name}: {self.durable.name} does not deliver {event.TYPE}, since it"
                        f" reads {self.durable.subject_filter} of {self.durable.stream}"
                    )
                effects[event.TYPE] = method
        return effects


def _is_delivered(event: type[Event], durable: Durable) -> bool:
    kind = AGGREGATE_TYPE_OF[event.TYPE]
    return kind.stream == durable.stream and passes(kind.pattern, durable.subject_filter)
