"""Finds out by a look-up whether an append whose answer did not say so is stored."""

import asyncio
import time
from collections.abc import Callable, Sequence

from streams.appending.append import Append, Conflict
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import Denied, NoAnswer, RequestFailed
from streams.message import Message


class Outcomes:
    def __init__(self, jetstream: JetStream, stream_of: Callable[[str], str]) -> None:
        self._jetstream = jetstream
        self._stream_of = stream_of

    async def resolve_by(self, deadline: float, appends: Sequence[Append]) -> list[int] | None:
        """Resolves the outcome by the deadline; on failure it is uncertain, whatever the attempt's answer said."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self.resolve(appends)
        except Denied:
            raise
        except (TimeoutError, RequestFailed) as failure:
            raise NoAnswer from failure
        except Refused as refused:
            if not refused.may_pass:
                raise
            raise NoAnswer from refused

    async def resolve(self, appends: Sequence[Append]) -> list[int] | None:
        """Looks up the outcome of the append: the events' sequences, or None if they are not stored yet.

        Raises:
            Conflict: they are not stored and never will be.
            NoAnswer: the first of them are stored, and the last is not.
        """
        first_on: dict[str, int] = {}
        for index, append in enumerate(appends):
            first_on.setdefault(append.subject, index)
        for index in first_on.values():
            append = appends[index]
            first = await self._first_after(append)
            if first is None:
                continue
            # One lookup per subject: an attempt in flight may be stored between two lookups, which is no conflict.
            if first.event_id() != append.envelope.id:
                raise Conflict(append.subject, append.expected)
            begin = first.sequence - index
            end = begin + len(appends)
            if end - 1 != first.sequence and not await self._is_stored_at(appends[-1], end - 1):
                # The server was interrupted while it wrote the batch, and has not completed it.
                raise NoAnswer
            return list(range(begin, end))
        return None

    async def _is_stored_at(self, append: Append, sequence: int) -> bool:
        message = await self._jetstream.at(self._stream_of(append.subject), sequence)
        return message is not None and message.event_id() == append.envelope.id

    async def _first_after(self, append: Append) -> Message | None:
        return await self._jetstream.next(self._stream_of(append.subject), append.subject, append.expected)
