"""Rejects positions inside a range of events that were lost and accepted as lost.

An operator has accepted the loss, and placeholders fill the lost sequences. Every position issued since is at or after
the last of them, so a position in between is from before the loss.
"""

import asyncio
import logging

from nats.aio.client import Client as NATS

from contracts.errors import HistoryChanged
from contracts.notification_kinds import stream_of
from contracts.positions import Position
from contracts.subjects import PUBLIC_FILTERS
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.loss.missing_events import accepted

log = logging.getLogger(__name__)
# Seconds between two checks.
EVERY = 5.0


class GivenUp:
    def __init__(self, nats: NATS) -> None:
        self._jetstream = JetStream(nats, patience=2.0)
        # By stream: the first and the last sequence of each accepted loss.
        self._ends: dict[str, list[tuple[int, int]]] = {}

    async def run(self) -> None:
        """Reads the accepted losses periodically until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(EVERY)

    async def refresh(self) -> None:
        """Reads the accepted losses of every stream in which clients have positions.

        Keeps those known for a stream that does not answer.
        """
        for stream in PUBLIC_FILTERS:
            try:
                config = (await self._jetstream.info(stream)).config
            except (RequestFailed, Refused) as failure:
                log.debug("decisions of %s: %s", stream, failure)
                continue
            self._ends[stream] = [(loss.first, loss.last) for loss in accepted(config) if loss.filled]

    def assert_current(self, position: Position) -> None:
        """
        Raises:
            HistoryChanged: the position is from before a loss, and inside its range.
        """
        for channel, sequence in position.sequences.items():
            # The last sequence itself is valid: the stream may end there now.
            if any(first <= sequence < last for first, last in self._ends.get(stream_of(channel), ())):
                raise HistoryChanged
