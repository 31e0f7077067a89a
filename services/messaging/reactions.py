"""Follows CONTACT, so that a friendship that ended is no longer remembered as one."""

import asyncio
import logging
import time

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import VestnikError
from contracts.events.friendship import FriendshipRemoved
from contracts.subjects import CONTACT, PUBLIC_FILTERS
from services.messaging.clients import FriendshipCache
from streams.log import Log
from streams.reader import Reader, StreamWentBack

log = logging.getLogger(__name__)
_RETRY = 1.0
_CONFIRM = 0.5


async def follow_friendships(nats: NATS, event_log: Log, remembered: FriendshipCache) -> None:
    """Follows until the process ends; starts over, with nothing remembered, when the stream cannot be read."""
    while True:
        try:
            await _follow(nats, event_log, remembered)
        except (VestnikError, StreamWentBack) as error:
            # A leader that was cut off may end before what was read; in the end the stream's owner judges a loss.
            log.warning("following %s waits: %s", CONTACT, error)
        remembered.reset()
        await asyncio.sleep(_RETRY)


async def confirm_end(event_log: Log, remembered: FriendshipCache) -> None:
    """Asks CONTACT's leader for the stream's end, twice a second, until the process ends: for a cluster."""
    while True:
        asked_at = time.monotonic()
        try:
            remembered.ends(await event_log.end_of(CONTACT), asked_at)
        except VestnikError as error:
            log.debug("the end of %s is not known: %s", CONTACT, error)
        await asyncio.sleep(_CONFIRM)


async def _follow(nats: NATS, event_log: Log, remembered: FriendshipCache) -> None:
    end = await event_log.end_of(CONTACT)
    remembered.follows(end)
    reader = Reader(nats, CONTACT, after=end, subject_filter=PUBLIC_FILTERS[CONTACT], name="friendships")
    async with reader:
        async for batch in reader.batches():
            for message in batch.messages:
                try:
                    envelope = message.envelope()
                except msgspec.DecodeError:
                    remembered.forget_all(message.sequence)
                    continue
                if envelope.type == FriendshipRemoved.TYPE:
                    remembered.forget(envelope.aggregate_id, message.sequence)
            remembered.reached(batch.position)
