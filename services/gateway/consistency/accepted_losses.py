"""Positions that lie where a stream has lost its end: whoever has one has been shown what nobody has any more.

An operator has given the events up, and placeholders stand in their sequences. Every position that is told since lies
behind them, so that one in between is from before.
"""

import asyncio
import logging

from nats.aio.client import Client as NATS

from contracts.errors import HistoryChanged
from contracts.notification_kinds import NOTIFIED_CONTACT, NOTIFIED_MESSAGING
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING, PUBLIC_FILTERS
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.loss.missing_events import accepted

log = logging.getLogger(__name__)
# Seconds between two looks.
EVERY = 5.0
_STREAM_OF = {NOTIFIED_CONTACT: CONTACT, NOTIFIED_MESSAGING: MESSAGING}


class GivenUp:
    def __init__(self, nats: NATS) -> None:
        self._jetstream = JetStream(nats, patience=2.0)
        # By stream the first and the last sequence of each end that was given up.
        self._ends: dict[str, list[tuple[int, int]]] = {}

    async def run(self) -> None:
        """Looks what was given up, again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Asks for the decisions of every stream in which clients have positions; where one does not answer, what was
        known stays."""
        for stream in PUBLIC_FILTERS:
            try:
                config = (await self._jetstream.info(stream)).config
            except (RequestFailed, Refused) as failure:
                log.debug("decisions of %s: %s", stream, failure)
                continue
            self._ends[stream] = [(each.first, each.last) for each in accepted(config) if each.filled]

    def assert_current(self, position: Position) -> None:
        """
        Raises:
            HistoryChanged: the position is from before a loss, and behind it.
        """
        for channel, sequence in position.sequences.items():
            # The last placeholder may be where the stream ends now.
            if any(first <= sequence < last for first, last in self._ends.get(_STREAM_OF.get(channel, channel), ())):
                raise HistoryChanged
