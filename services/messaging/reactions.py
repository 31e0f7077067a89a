"""Follows CONTACT: removes ended friendships from the cache, and passes new ones on."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import datetime

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import VestnikError
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.subjects import CONTACT, PUBLIC_FILTERS
from services.messaging.clients import FriendshipCache
from streams.log import Log
from streams.message import Message
from streams.reader import Reader, StreamWentBack
from streams.topology import StreamMissing

log = logging.getLogger(__name__)
_RETRY = 1.0
_CONFIRM = 0.5
# Well within the second for which the cache counts as live.
_SIGN_OF_LIFE = 0.4

# Called with the conversation of two new friends, with their ids, and the time; it must not wait.
Opened = Callable[[str, Collection[str], datetime], None]


async def follow_friendships(
    nats: NATS, event_log: Log, remembered: FriendshipCache, opened: Opened = lambda *_: None
) -> None:
    """Follows CONTACT until cancelled; if the stream cannot be read, clears the cache and starts again, at the end.

    `opened`: called with friendships that begin meanwhile, as far as they are read.
    """
    while True:
        try:
            await _follow(nats, event_log, remembered, opened)
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


async def _follow(nats: NATS, event_log: Log, remembered: FriendshipCache, opened: Opened) -> None:
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
                elif envelope.type == FriendshipAccepted.TYPE:
                    _open(message, opened)
            remembered.reached(batch.position)


def _open(message: Message, opened: Opened) -> None:
    """Passes on the conversation of two new friends, whose id is that of the friendship."""
    try:
        event = message.open()
    except (LookupError, msgspec.DecodeError):
        # Of a later release, or malformed: who appended it, or reads it for its own sake, says so.
        return
    if isinstance(event.data, FriendshipAccepted):
        opened(event.aggregate_id, (event.data.requester_id, event.data.addressee_id), event.at)
