"""Creates the keys of the next month's texts in the last days of a month, in the background.

Otherwise the first message of each author in each conversation would wait for auth to create its key, all of them in
the first minutes of a month. An author who does not write in these days gets the key with the first message as before.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from contracts.errors import VestnikError
from contracts.personal_data.key_ids import MONTH_AHEAD
from streams.personal_data.sealer import CreateKeys

log = logging.getLogger(__name__)
# Keys of one call, and seconds between two calls on average: some percent of what auth can do.
_BATCH, _PAUSE = 20, 1.0
# Pauses after a call that failed.
_AFTER_FAILURE = 30
# Keys that are remembered as asked for: 25 MB.
_MOST = 100_000
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
        """Notes the keys of events of a time; until the last days of a month that is one comparison."""
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
            await self._create(batch)
        except VestnikError as error:
            # Auth is away, or of the release before; or one of the authors was erased at this moment. The next message
            # of each author notes the key again.
            log.info("%d keys of the next month cannot be created yet: %s", len(batch), error)
            self._asked.difference_update(batch)
            await asyncio.sleep(self._pause * _AFTER_FAILURE)
