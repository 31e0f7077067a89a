"""Sequences of streams whose events are lost, so that an audit of these streams is incomplete."""

from collections.abc import Iterable

from nats.aio.client import Client

from contracts.errors import Unavailable
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.loss.missing_events import Gap, accepted, by_stream
from streams.loss.watch import lost


async def lost_events(nc: Client, streams: Iterable[str]) -> list[Gap]:
    """The sequences without an event, whether or not an operator has accepted the loss; placeholders count as none.

    The lost end of a stream, and an event that the server counts and does not return, are found once their loss is
    accepted.

    Raises:
        Unavailable: NATS does not answer.
    """
    jetstream, gaps = JetStream(nc), list[Gap]()
    try:
        for stream in streams:
            info = await jetstream.info(stream, deleted=True)
            gaps += lost(stream, info, 0)
            gaps += [Gap(stream, loss.first, loss.last) for loss in accepted(info.config)]
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"cannot read from NATS which events are lost: {failure}") from failure
    return [gap for of_stream in by_stream(gaps).values() for gap in of_stream]
