"""The users who were erased, in memory: read from a read model once, then followed in AUTH by every process for itself.

So a service refuses what concerns them, and drops what it has cached of them, within moments, however far its read
models are.
"""

import asyncio
import logging
from collections.abc import Callable, Container

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import VestnikError
from contracts.events.user import UserErased, UserErasureCompleted
from contracts.subjects import AUTH, PUBLIC_FILTERS
from projections.engine.read_model import ReadModel
from streams.personal_data.reading import PersonalData
from streams.reader import Reader, StreamWentBack
from streams.topology import StreamMissing

log = logging.getLogger(__name__)
_RETRY = 1.0


class _Erased(msgspec.Struct, frozen=True):
    user_id: str


class ErasedUsers(Container[str]):
    def __init__(self, nats: NATS, model: ReadModel) -> None:
        """`model`: of an `ErasingProjection`."""
        self._nats = nats
        self._model = model
        self._users: set[str] = set()
        self._listeners: list[Callable[[str], None]] = []

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._users

    def listen(self, drop: Callable[[str], None]) -> None:
        """`drop`: called with a user who was erased, and again once no process can read the user's texts any more, for
        what was cached in between. A user erased before the process began is in no cache."""
        self._listeners.append(drop)

    async def follow(self) -> None:
        """Follows AUTH until cancelled; begins again if it cannot be read."""
        while True:
            try:
                await self._follow()
            except (VestnikError, StreamWentBack, StreamMissing) as error:
                log.info("following the erasures in %s is interrupted: %s", AUTH, error)
            await asyncio.sleep(_RETRY)

    async def _follow(self) -> None:
        rows, position = await self._model.select(_Erased, "SELECT user_id FROM {erased}")
        for user_id in {row.user_id for row in rows} - self._users:
            self._erased(user_id)
        reader = Reader(
            self._nats,
            AUTH,
            after=position.sequence(AUTH),
            subject_filter=PUBLIC_FILTERS[AUTH],
            name="erasures",
            outlasts_refusals=True,
            personal_data=PersonalData.EMPTY,
        )
        async with reader:
            async for batch in reader.batches():
                for message in batch.messages:
                    try:
                        envelope = message.envelope()
                    except msgspec.DecodeError:
                        continue
                    if envelope.type in (UserErased.TYPE, UserErasureCompleted.TYPE):
                        self._erased(envelope.aggregate_id)

    def _erased(self, user_id: str) -> None:
        self._users.add(user_id)
        for drop in self._listeners:
            drop(user_id)
