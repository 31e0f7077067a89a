"""Follows the events that change profiles, so that the profile cache is invalidated within moments; and erasures."""

import asyncio
from collections.abc import Callable, Collection

import msgspec
from nats.aio.client import Client as NATS

from contracts.events.user import UserErased, UserErasureCompleted
from contracts.positions import Position
from contracts.subjects import AUTH, PROFILE
from services.gateway.cache.profile_cache import ProfileCache
from services.gateway.consistency.stream_follower import StreamFollower, StreamListener, from_end
from streams.batching.bursts import Bursts
from streams.lru_cache import LruCache
from streams.message import Message
from streams.personal_data.reading import PersonalData

# An erasure is complete in about two minutes.
_MOST_ENDED = 100_000


class ProfileInvalidation:
    """Follows profile events, and users' events for the verification of their e-mail and the erasure of the account,
    from the streams' end."""

    def __init__(self, nats: NATS, cache: ProfileCache, *, name: str) -> None:
        self._cache = cache
        self._forgetting: list[Callable[[], None]] = []
        self._erased: Bursts[str] = Bursts(self._forget)
        # Registrations that ended without an account, whose erasure is not complete.
        self._ended: LruCache[str, bool] = LruCache(_MOST_ENDED)
        self._followers = tuple(
            StreamFollower(
                nats,
                stream,
                start=self._start,
                handle=self._handle,
                name=f"{name}-{stream.lower()}",
                personal_data=form,
            )
            # Live delivery takes what profiles say from the same follower.
            for stream, form in ((PROFILE, PersonalData.PLAIN), (AUTH, PersonalData.EMPTY))
        )

    @property
    def alive(self) -> bool:
        return all(follower.alive for follower in self._followers)

    @property
    def position(self) -> Position:
        """The position up to which the streams were followed: the cache has received all changes up to it."""
        return Position({follower.stream: follower.position for follower in self._followers})

    def listen(self, listener: StreamListener) -> None:
        """Adds a listener to the followers; call it before `run`."""
        for follower in self._followers:
            follower.listener = listener

    def when_erased(self, forget: Callable[[], None]) -> None:
        """`forget`: called when users were erased, and again once no process can read their texts any more; at most
        once a second. Not for registrations that ended without an account."""
        self._forgetting.append(forget)

    async def run(self) -> None:
        """Follows until cancelled."""
        async with asyncio.TaskGroup() as group:
            for follower in self._followers:
                group.create_task(follower.run())

    async def _start(self, nats: NATS, stream: str) -> int | None:
        end = await from_end(nats, stream)
        if end is not None:
            self._cache.followed_from(stream, end)
        return end

    def _handle(self, message: Message) -> None:
        user_id = message.subject.rpartition(".")[2]
        self._cache.changed(user_id, message.stream, message.sequence)
        if message.stream == AUTH and self._erases(message, user_id):
            self._erased.add([user_id])

    def _erases(self, message: Message, user_id: str) -> bool:
        try:
            kind = message.envelope().type
            if kind == UserErased.TYPE:
                data = message.open().data
                assert isinstance(data, UserErased)
                if data.ended_registration:
                    self._ended.put(user_id, True)
                return not data.ended_registration
        except msgspec.DecodeError:
            return False
        return kind == UserErasureCompleted.TYPE and self._ended.discard(user_id) is None

    def _forget(self, users: Collection[str]) -> None:
        for forget in self._forgetting:
            forget()
