"""Resolves the position that a client brings to a start per channel, and rejects invalid positions.

A position may be of any gateway, of a write or of a list: it may be ahead of this gateway for moments. Streams that it
does not contain start now.
"""

from collections.abc import Callable, Iterable

from contracts.errors import Invalid, Unavailable, Violation
from contracts.notification_kinds import stream_of
from contracts.positions import Position
from services.gateway.consistency.stream_heads import LastSequence
from services.gateway.live.hub import ChannelPositions, Hub
from streams.jetstream.api import Refused
from streams.jetstream.requests import RequestFailed

# Seconds to wait for a position ahead of this gateway.
_PATIENCE = 5.0


async def resolve_start(
    hub: Hub,
    last_sequence: LastSequence,
    since: Position,
    seen: Position,
    channels: Iterable[str],
    confirm: Callable[[], None],
) -> ChannelPositions:
    """The start sequence of each channel.

    `since`: empty for now, which is never before `seen`.
    `confirm`: raises Unavailable if the end of a stream may be older than what the cluster agrees on.

    Raises:
        Invalid: it is past the end of a stream, so it is of another system.
        Unavailable: it is ahead of this gateway, which does not reach it in time.
    """
    now = Position(hub.positions())
    if not since.sequences:
        begin = {channel: now.merge(seen).sequence(stream_of(channel)) for channel in channels}
    else:
        # A notification channel defaults to its stream's position: a client that has received neither gets both.
        known = {**now.sequences, **since.sequences}
        begin = {channel: known.get(channel, known[stream_of(channel)]) for channel in channels}
    if not hub.has_reached(begin):
        await _reject_future_positions(hub, last_sequence, begin, confirm)
        if not await hub.until_reached(begin, _PATIENCE):
            raise Unavailable(retry_after=1)
    return begin


async def _reject_future_positions(
    hub: Hub, last_sequence: LastSequence, begin: ChannelPositions, confirm: Callable[[], None]
) -> None:
    for channel, sequence in begin.items():
        if sequence <= hub.position(channel):
            continue
        try:
            end = await last_sequence(stream_of(channel))
        except (RequestFailed, Refused) as error:
            raise Unavailable(retry_after=1) from error
        if end is None:
            raise Unavailable(retry_after=1)
        if sequence > end:
            confirm()
            raise invalid_position()


def invalid_position() -> Invalid:
    """The error for the query parameter `since`; a caller that took the position from elsewhere sets its own path."""
    return Invalid("The position is not from this system.", violations=(Violation("/query/since", "Not a position"),))
