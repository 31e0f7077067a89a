"""The users who were erased, in memory: read from a read model once, then followed in AUTH by every process for itself.

So a service refuses what concerns them, and drops what it has cached of them, within moments, however far its read
models are. Registrations that ended without an account are left out: nobody has had to do with them.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import ReadModelBehind, Unavailable, VestnikError
from contracts.events.user import UserErased, UserErasureCompleted
from contracts.positions import Position
from contracts.subjects import AUTH, PUBLIC_FILTERS
from projections.engine.read_model import ReadModel
from streams.batching.bursts import Bursts
from streams.message import Message
from streams.personal_data.reading import PersonalData
from streams.reader import Reader, StreamWentBack
from streams.topology import StreamMissing

log = logging.getLogger(__name__)
_RETRY = 1.0
# Seconds that a caller waits for the users to be known.
_PATIENCE = 2.0


class _Erased(msgspec.Struct, frozen=True):
    user_id: str


class ErasedUsers:
    def __init__(self, nats: NATS, model: ReadModel, *, patience: float = _PATIENCE) -> None:
        """`model`: of an `ErasingProjection`."""
        self._nats = nats
        self._model = model
        self._patience = patience
        self._users: set[str] = set()
        # Whether AUTH was read to its end once.
        self._loaded = asyncio.Event()
        self._listeners: list[Callable[[Collection[str]], None]] = []
        self._dropping = Bursts(self._drop)

    async def has(self, user_id: str) -> bool:
        """Whether the user was erased.

        Raises:
            Unavailable: that is not known yet; the process has just begun.
        """
        if user_id not in self._users and not self._loaded.is_set():
            try:
                async with asyncio.timeout(self._patience):
                    await self._loaded.wait()
            except TimeoutError as error:
                raise Unavailable(retry_after=1) from error
        return user_id in self._users

    def listen(self, drop: Callable[[Collection[str]], None]) -> None:
        """`drop`: called with users who were erased, and again once no process can read their texts any more, for what
        was cached in between; at most once a second. A user erased before the process began is in no cache."""
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
        known, position = await self._from_read_model()
        self._erased(known - self._users)
        reader = Reader(
            self._nats,
            AUTH,
            after=position.sequence(AUTH),
            subject_filter=PUBLIC_FILTERS[AUTH],
            name="erasures",
            outlasts_refusals=True,
            prompt=False,
            personal_data=PersonalData.EMPTY,
        )
        async with reader:
            async for batch in reader.batches():
                self._erased(list(self._in(batch.messages)))
                if batch.pending == 0:
                    self._loaded.set()

    async def _from_read_model(self) -> tuple[set[str], Position]:
        try:
            rows, position = await self._model.select(
                _Erased, "SELECT user_id FROM {erased} WHERE sequence IS NOT NULL"
            )
        except ReadModelBehind:
            # It is being built, which may wait for keys of personal data; AUTH is read without any.
            return set(), Position()
        return {row.user_id for row in rows}, position

    def _in(self, messages: Collection[Message]) -> Iterator[str]:
        """The users whom the events erase."""
        for message in messages:
            try:
                envelope = message.envelope()
                if envelope.type == UserErased.TYPE:
                    data = message.open().data
                    assert isinstance(data, UserErased)
                    if not data.ended_registration:
                        yield envelope.aggregate_id
                elif envelope.type == UserErasureCompleted.TYPE and envelope.aggregate_id in self._users:
                    yield envelope.aggregate_id
            except msgspec.DecodeError:
                continue

    def _erased(self, users: Collection[str]) -> None:
        self._users.update(users)
        self._dropping.add(users)

    def _drop(self, users: Collection[str]) -> None:
        for drop in self._listeners:
            drop(users)
