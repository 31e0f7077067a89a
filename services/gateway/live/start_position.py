"""From the position that a client brings to where it is told from, for each channel; false positions are refused.

A position may be of any gateway, of a write or of a list: it may be ahead of what this gateway was told, for moments.
What it does not speak of begins now.
"""

from collections.abc import Callable, Iterable

from nats.aio.client import Client as NATS
from nats.errors import Error as NatsError

from contracts.errors import Invalid, Unavailable, Violation
from contracts.positions import Position
from services.gateway.live.fanout import NOTIFICATION_CHANNELS
from services.gateway.live.hub import ChannelPositions, Hub

# Seconds for which a position ahead of this gateway is waited for.
_PATIENCE = 5.0


async def resolve_start(
    hub: Hub, nats: NATS, since: Position, seen: Position, channels: Iterable[str], confirm: Callable[[], None]
) -> ChannelPositions:
    """
    `since`: empty for now, which is not before `seen`.
    `confirm`: raises Unavailable where the end of a stream may be older than what the cluster agrees on.

    Raises:
        Invalid: it lies behind the end of a stream: it is another system's.
        Unavailable: it lies ahead of this gateway, which does not get there.
    """
    now = Position(hub.positions())
    if not since.sequences:
        begin = {channel: now.merge(seen).sequence(NOTIFICATION_CHANNELS.get(channel, channel)) for channel in channels}
    else:
        # Each event first, then the notification it makes: who was told of neither gets both.
        known = {**now.sequences, **since.sequences}
        begin = {
            channel: known.get(channel, known[NOTIFICATION_CHANNELS.get(channel, channel)]) for channel in channels
        }
    if not hub.has_reached(begin):
        await _reject_future_positions(hub, nats, begin, confirm)
        if not await hub.until_reached(begin, _PATIENCE):
            raise Unavailable(retry_after=1)
    return begin


async def _reject_future_positions(hub: Hub, nats: NATS, begin: ChannelPositions, confirm: Callable[[], None]) -> None:
    for channel, sequence in begin.items():
        if sequence <= hub.position(channel):
            continue
        try:
            info = await nats.jetstream().stream_info(NOTIFICATION_CHANNELS.get(channel, channel))
        except (NatsError, TimeoutError) as error:
            raise Unavailable(retry_after=1) from error
        if sequence > info.state.last_seq:
            confirm()
            raise invalid_position()


def invalid_position() -> Invalid:
    """Says it of the parameter; whoever took the position from elsewhere says from where."""
    return Invalid("The position is not one of this system.", violations=(Violation("/query/since", "Not a position"),))
