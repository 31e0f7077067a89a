"""Base class of events: frozen records of something that happened, named in the past tense."""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

# A time with its zone, always UTC.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


# gc=False: an event cannot be part of a reference cycle, so the garbage collector skips the millions of a replay.
class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of all events; a subclass declares its type, its schema version and whether it is private."""

    TYPE: ClassVar[str]
    # Raised by every change that is not merely a new field with a default; see docs/howto/change-an-event.md.
    SCHEMA: ClassVar[int] = 1
    # Only the stream's owner, and the readers named in contracts/subjects.py, may read a private event's subject.
    PRIVATE: ClassVar[bool] = False
