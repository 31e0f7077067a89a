"""The audit of logins for the page: the newest first, read from the stream, and not more often than it is worth."""

import asyncio
import time
from collections import deque
from contextlib import aclosing

import msgspec
from nats.aio.client import Client as NATS

from contracts.subjects import SESSION
from infra.audit import Query, Row, Unreadable, rows
from infra.history import end_of

# An answer serves everybody who asks the same for so long, and for some multiple of the time that it took.
_AGE = 1.0
_WORTH = 10.0
# While nobody logs in or out, sessions only run out.
_QUIET_AGE = 30.0
_KEPT = 16


class LoginsFound(msgspec.Struct, frozen=True, kw_only=True):
    """The newest rows of the audit."""

    items: list[Row]
    # Whether there are older ones than these.
    more: bool
    # Events that could not be read; the audit is not whole.
    unreadable: bool = False


class _Known(msgspec.Struct, frozen=True):
    found: LoginsFound
    end: int
    at: float
    took: float


class Logins:
    """Asks the audit, one question at a time: each reads all of the stream of sessions."""

    def __init__(self, nc: NATS) -> None:
        self._nc = nc
        self._turn = asyncio.Lock()
        self._known: dict[tuple[Query, int], _Known] = {}

    async def newest(self, query: Query, limit: int) -> LoginsFound:
        """So many rows at most.

        Raises:
            Failure: there is no stream of sessions.
        """
        async with self._turn:
            end = await end_of(self._nc, SESSION) or 0
            known = self._known.get((query, limit))
            if known is not None and self._is_good(known, end):
                return known.found
            began = time.monotonic()
            found = await self._read(query, limit)
            self._known.pop((query, limit), None)
            self._known[query, limit] = _Known(found, end, began, time.monotonic() - began)
            if len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
            return found

    def _is_good(self, known: _Known, end: int) -> bool:
        age = time.monotonic() - known.at
        return age < max(_AGE, known.took * _WORTH) or (known.end == end and age < _QUIET_AGE)

    async def _read(self, query: Query, limit: int) -> LoginsFound:
        newest: deque[Row] = deque(maxlen=limit)
        count, unreadable = 0, False
        try:
            async with aclosing(rows(self._nc, query)) as pages:
                async for page in pages:
                    newest.extend(page)
                    count += len(page)
        except Unreadable:
            unreadable = True
        return LoginsFound(items=list(reversed(newest)), more=count > limit, unreadable=unreadable)
