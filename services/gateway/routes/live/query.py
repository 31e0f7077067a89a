"""Query parameters of a live subscription."""

from typing import Annotated

import msgspec
from msgspec import Meta


class EventsQuery(msgspec.Struct, frozen=True):
    since: Annotated[
        str, Meta(max_length=512, description="A position: the `id` of an event, or `Vestnik-Position` of a list.")
    ] = ""
    notifications: Annotated[bool, Meta(description="Whether to include notifications.")] = False
