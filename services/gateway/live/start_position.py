"""Resolves the position that a client brings to a start per channel.

A position may be of any gateway, of a write or of a list: it may be ahead of this gateway. This system has issued it,
so it is waited for, and never rejected: the end of a stream is not compared with it, since the answer may come from a
leader that was deposed. Streams that it does not contain start now.
"""

from collections.abc import Iterable

from contracts.errors import Invalid, Unavailable, Violation
from contracts.notification_kinds import stream_of
from contracts.positions import Position
from services.gateway.live.hub import ChannelPositions, Hub

# Seconds to wait for a position ahead of this gateway.
_PATIENCE = 5.0


async def resolve_start(
    hub: Hub, since: Position, seen: Position, channels: Iterable[str], *, patience: float = _PATIENCE
) -> ChannelPositions:
    """The start sequence of each channel.

    `since`: empty for now, which is never before `seen`.

    Raises:
        Unavailable: it is ahead of this gateway, which does not reach it within `patience` seconds.
    """
    now = Position(hub.positions())
    if not since.sequences:
        begin = {channel: now.merge(seen).sequence(stream_of(channel)) for channel in channels}
    else:
        # A notification channel defaults to its stream's position: a client that has received neither gets both.
        known = {**now.sequences, **since.sequences}
        begin = {channel: known.get(channel, known[stream_of(channel)]) for channel in channels}
    if not hub.has_reached(begin) and not await hub.until_reached(begin, patience):
        raise Unavailable(retry_after=1)
    return begin


def invalid_position() -> Invalid:
    """The error for the query parameter `since`; a caller that took the position from elsewhere sets its own path."""
    return Invalid("The position is not from this system.", violations=(Violation("/query/since", "Not a position"),))
