"""What services record about their projections."""

from typing import ClassVar

from contracts.events.event import Event


class ProjectionBegun(Event, frozen=True, kw_only=True):
    """A version of a projection was started for the first time, and begins after these sequences of its streams: so
    does each of its builds."""

    TYPE: ClassVar[str] = "projection.begun"
    PRIVATE: ClassVar[bool] = True
    projection: str
    # Of the projection.
    projection_version: int
    # As the projection says: `now`, or a time in RFC 3339.
    begin: str
    # By stream.
    after: dict[str, int]
