"""Creates keys of texts before their authors write, in the background: those of the next month in the last days of a
month, and those of both people of a new friendship.

Otherwise the first message of each author in each conversation and month would wait for auth to create its key, all of
them in the first minutes of a month. No message depends on it: a key that is missing is created with the first message.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from contracts import envelope
from contracts.errors import MessageNotFound, UserNotFound, VestnikError
from contracts.personal_data.key_ids import MONTH_AHEAD, text_key
from streams.personal_data.sealer import CreateKeys

log = logging.getLogger(__name__)
# Keys of one call, and seconds between two calls on average: some percent of what auth can do.
_BATCH, _PAUSE = 20, 1.0
# Pauses after a call that failed.
_AFTER_FAILURE = 30
# Keys that are remembered as asked for: 25 MB.
_MOST = 100_000
# New friendships are left out while this many keys wait, which take a minute; and those that are older, such as all
# those of an import.
_BUSY, _NEW = 1_000, timedelta(minutes=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


class KeysAhead:
    def __init__(self, create: CreateKeys, *, pause: float = _PAUSE) -> None:
        """`pause`: seconds between two calls of `create`, on average."""
        self._create = create
        self._pause = pause
        # The last days of a month, until it turns; the ends of the ids of its keys, and of those of the next month.
        self._begin = self._turn = _NEVER
        self._present = self._next = ""
        self._asked: set[str] = set()
        self._waiting: deque[str] = deque()
        self._noted = asyncio.Event()

    def used(self, key_ids: Collection[str], at: datetime) -> None:
        """Notes keys that events of this time used, so that those of the next month are created.

        Does nothing until the last days of a month, at the cost of one comparison.
        """
        if at < self._begin:
            return
        if at >= self._turn:
            self._enter_month(at)
            if at < self._begin:
                return
        for key_id in key_ids:
            # A person's key has no month, and what is written about an older message has the month of that.
            if key_id.endswith(self._present):
                self._note(key_id.removesuffix(self._present) + self._next)

    def opened(self, conversation_id: str, authors: Collection[str], at: datetime) -> None:
        """Notes the keys of both members of a new conversation, for the month of `at`, when they became friends."""
        if envelope.now() - at <= _NEW and len(self._waiting) < _BUSY:
            for author_id in authors:
                self._note(text_key(conversation_id, author_id, at))

    async def run(self) -> None:
        """Creates what was noted, until cancelled."""
        while True:
            await self._noted.wait()
            # Not all processes in the same moments.
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            await self._create_some()

    def _enter_month(self, at: datetime) -> None:
        first = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        self._turn = (first + timedelta(days=31)).replace(day=1)
        self._begin = self._turn - MONTH_AHEAD
        self._present, self._next = f".{first:%Y-%m}", f".{self._turn:%Y-%m}"
        self._asked.clear()

    def _note(self, key_id: str) -> None:
        if key_id in self._asked:
            return
        if len(self._asked) >= _MOST:
            if self._waiting:
                return
            # Those that are asked for once more exist, which costs auth a look-up.
            self._asked.clear()
        self._asked.add(key_id)
        self._waiting.append(key_id)
        self._noted.set()

    async def _create_some(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        if not self._waiting:
            self._noted.clear()
        try:
            await self._create_each(batch)
        except VestnikError as error:
            # Auth is away, or of the release before. The next message of each author notes the next month's key again.
            log.info("%d keys cannot be created ahead yet: %s", len(batch), error)
            self._asked.difference_update(batch)
            await asyncio.sleep(self._pause * _AFTER_FAILURE)

    async def _create_each(self, batch: list[str]) -> None:
        """Creates the keys together, without those of authors who were erased."""
        try:
            await self._create(batch)
        except (UserNotFound, MessageNotFound):
            for key_id in batch if len(batch) > 1 else ():
                await self._create_each([key_id])
