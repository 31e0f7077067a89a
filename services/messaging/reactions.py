"""Follows CONTACT to remove ended friendships from the cache."""

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
from streams.topology import StreamMissing

log = logging.getLogger(__name__)
_RETRY = 1.0
_CONFIRM = 0.5
# Well within the second for which the cache counts as live.
_SIGN_OF_LIFE = 0.4


async def follow_friendships(nats: NATS, event_log: Log, remembered: FriendshipCache) -> None:
    """Follows CONTACT until cancelled; if the stream cannot be read, clears the cache and starts again."""
    while True:
        try:
            await _follow(nats, event_log, remembered)
        except (VestnikError, StreamWentBack, StreamMissing) as error:
            # A partitioned leader's stream may end before what was read; the stream's owner decides on a loss.
            log.warning("following %s is interrupted: %s", CONTACT, error)
        remembered.reset()
        await asyncio.sleep(_RETRY)


async def confirm_end(event_log: Log, remembered: FriendshipCache) -> None:
    """Requests the end of CONTACT from its leader twice a second, until cancelled. For clusters only."""
    while True:
        asked_at = time.monotonic()
        try:
            remembered.ends(await event_log.end_of(CONTACT), asked_at)
        except VestnikError as error:
            log.debug("the end of %s is unknown: %s", CONTACT, error)
        await asyncio.sleep(_CONFIRM)


async def _follow(nats: NATS, event_log: Log, remembered: FriendshipCache) -> None:
    end = await event_log.end_of(CONTACT)
    remembered.follows(end)
    reader = Reader(
        nats,
        CONTACT,
        after=end,
        subject_filter=PUBLIC_FILTERS[CONTACT],
        name="friendships",
        outlasts_refusals=True,
        sign_of_life=_SIGN_OF_LIFE,
    )
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
