"""Operators' decisions on events that a projection could not apply."""

from typing import ClassVar

from contracts.events.event import Event
from contracts.values.personal_data import Personal


class DeadLetterDiscarded(Event, frozen=True, kw_only=True):
    """An operator discarded an event: every build of this version of the projection skips it. Services that have
    read models read it too."""

    TYPE: ClassVar[str] = "dead_letter.discarded"
    PRIVATE: ClassVar[bool] = True
    projection: str
    # Of the projection.
    projection_version: int
    # The build in which the event had failed.
    build: int
    # The discarded event: its position and its type.
    stream: str
    sequence: int
    subject: str
    event_type: str
    # Why it could not be applied.
    error: Personal[str]
    # Why it is discarded.
    reason: Personal[str]
    # The id of the operator's account; on the command line the login name on the machine.
    by: Personal[str]
