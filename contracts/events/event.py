"""What every event is: a frozen record of something that happened, named in the past tense."""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

# A moment with its time zone, always UTC.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


# No event can be part of a cycle: replays of millions go without the collector's passes over them.
class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of all events; a subclass says its type, the version of its data, and whether others may read it."""

    TYPE: ClassVar[str]
    # Raised by every change that is not merely a new field with a default; see docs/howto/change-an-event.md.
    SCHEMA: ClassVar[int] = 1
    # A private event lies on a subject that only the stream's owner has a right to read, or those that
    # contracts/subjects.py names there.
    PRIVATE: ClassVar[bool] = False
