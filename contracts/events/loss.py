"""Placeholders for events that a stream has lost at its end, once an operator has accepted the loss.

There is one for each lost sequence, and for some sequences after them, so that no other event gets a sequence that a
reader may have seen. No code reacts to them. Each stream has its own type, `auth.events_lost`.
"""

import msgspec

from contracts.events.event import Event
from contracts.subjects import STREAMS, is_public, lost_in


class EventsLost(Event, frozen=True, kw_only=True):
    """Takes the sequence of an event that a stream has lost."""

    # The whole range of sequences that is accepted as lost.
    first: int
    last: int


def _of(stream: str, service: str) -> type[EventsLost]:
    event = msgspec.defstruct(
        f"{service.capitalize()}EventsLost",
        [],
        bases=(EventsLost,),
        module=__name__,
        namespace={
            "__doc__": f"Takes the sequence of an event that {stream} has lost.",
            "TYPE": f"{service}.events_lost",
            "PRIVATE": not is_public(lost_in(stream)),
        },
        frozen=True,
        kw_only=True,
    )
    assert issubclass(event, EventsLost)
    return event


# By stream.
EVENTS_LOST: dict[str, type[EventsLost]] = {stream: _of(stream, service) for stream, service in STREAMS.items()}
