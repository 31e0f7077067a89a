"""Completes profile updates with what the event does not contain, then publishes them to the user's friends.

Changes of settings alone are left out. One by one, in stream order, and only if a friend is connected here. While the
profile service does not answer, only these updates wait.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import msgspec

from contracts.envelope import Recorded
from contracts.errors import ProfileNotFound, VestnikError
from contracts.events.event import Event
from contracts.events.profile import ProfileUpdated
from contracts.positions import Position
from contracts.subjects import PROFILE
from contracts.values.ids import new_id
from contracts.values.timestamps import rfc3339
from infra.rpc.call_context import Call
from services.gateway.cache.profile_reader import ProfileReader
from services.gateway.live.fanout import profile_updated
from services.gateway.live.hub import Hub

log = logging.getLogger(__name__)
MOST = 10_000
_PAUSE = 0.5


class _Unchanged(msgspec.Struct, frozen=True):
    """The fields that an update of a profile does not contain."""

    username: str
    verified: bool
    # The account was erased.
    deleted: bool = False


_DECODER = msgspec.json.Decoder(_Unchanged)


class ProfileUpdates:
    def __init__(self, hub: Hub, profiles: ProfileReader, *, overrun: Callable[[int], None], most: int = MOST) -> None:
        """`overrun`: called when the queue is full; no update up to and including the sequence is published."""
        self._hub = hub
        self._profiles = profiles
        self._overrun = overrun
        self._most = most
        # Updates, and between them the sequences up to which the stream was read.
        self._waiting: deque[Recorded[Event] | int] = deque()
        self._more = asyncio.Event()

    def add(self, event: Recorded[Event]) -> None:
        if isinstance(event.data, ProfileUpdated) and not event.data.settings_only:
            self._put(event)

    def reached(self, sequence: int) -> None:
        if self._waiting and isinstance(self._waiting[-1], int):
            self._waiting[-1] = sequence
        else:
            self._put(sequence)

    async def run(self) -> None:
        """Publishes until cancelled."""
        while True:
            await self._more.wait()
            while self._waiting:
                next_ = self._waiting[0]
                await self._publish(next_)
                if self._is_next(next_):
                    self._waiting.popleft()
            self._more.clear()

    async def _publish(self, next_: Recorded[Event] | int) -> None:
        if isinstance(next_, int):
            self._hub.advance(PROFILE, next_)
        elif self._hub.friend_index.friends_of(next_.aggregate_id):
            shown = await self._shown(next_)
            if shown is not None and self._is_next(next_):
                self._hub.publish(profile_updated(next_, shown))
        else:
            self._hub.skip(next_.sequence)

    def _is_next(self, next_: Recorded[Event] | int) -> bool:
        """False if the queue was cleared in the meantime."""
        return bool(self._waiting) and self._waiting[0] is next_

    async def _shown(self, event: Recorded[Event]) -> bytes | None:
        """The profile as of the event, requested until it is available; None if it cannot be published."""
        call = Call(request_id=new_id(), position=Position.at(PROFILE, event.sequence), caller="gateway")
        while True:
            try:
                profile = await self._profiles.get(event.aggregate_id, call)
                return _completed(event, _DECODER.decode(profile.body))
            except (ProfileNotFound, msgspec.DecodeError):
                log.exception("the profile update %d cannot be delivered", event.sequence)
                return None
            except VestnikError as error:
                log.info("profile updates are delayed: %s", error)
                await asyncio.sleep(_PAUSE)

    def _put(self, next_: Recorded[Event] | int) -> None:
        if len(self._waiting) >= self._most:
            self._waiting.clear()
            self._overrun(next_ if isinstance(next_, int) else next_.sequence)
            return
        self._waiting.append(next_)
        self._more.set()


def _completed(event: Recorded[Event], unchanged: _Unchanged) -> bytes:
    updated = event.data
    assert isinstance(updated, ProfileUpdated)
    shown: dict[str, object] = {
        "user_id": event.aggregate_id,
        "username": unchanged.username,
        "display_name": updated.display_name or unchanged.username,
        "bio": updated.bio,
        "avatar_url": updated.avatar_url or None,
        "verified": unchanged.verified,
        "updated_at": rfc3339(event.at),
    }
    if unchanged.deleted:
        shown |= {"display_name": "", "bio": "", "avatar_url": None, "deleted": True}
    return msgspec.json.encode(shown)
