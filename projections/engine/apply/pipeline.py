"""Reads, folds and writes at the same time: while PostgreSQL takes one batch, the next one is gathered.

A batch is whatever came while the one before it was written: one event when little happens, thousands with a backlog.
Far behind the end of the streams it waits until it is large, since nobody waits for that event and a large batch
writes each row once.
"""

import asyncio
import time
from types import TracebackType
from typing import Self

from projections.engine.apply.batch import Batch
from projections.engine.apply.batch_pacing import BatchPacing
from projections.engine.apply.build_writer import BuildWriter
from projections.engine.reading.stream_sources import Sources
from streams.reader import ReadBatch

# What one batch may hold, give or take the last piece that was read; two of them are in memory at most.
_EVENTS = 20_000
_BYTES = 32 * 1024 * 1024
# With at least so many events to come a batch is worth waiting for, for so long.
_BACKLOG = 2_000
_GATHERING_SECONDS = 1.0
# How long the last batch may take when the pipeline is left.
_LAST_WRITE_SECONDS = 2.0
# Among readers: what one batch may hold, and how long to rest after it, in times of what it took.
_EVENTS_AMONG_READERS = 4_000
_REST = 2.0
_LONGEST_REST = 0.3
# As many events as are written within some tens of milliseconds.
_NEAR = 500


class Pipeline:
    """Brings a build along its streams. Whatever a step raises, the pipeline is of no use any more."""

    def __init__(
        self, sources: Sources, filling: BuildWriter, *, most: int | None = None, haste: BatchPacing | None = None
    ) -> None:
        """
        `most`: events in a batch, where fewer than usual; folding and writing take the process for themselves.
        `haste`: who waits for the next batch; without it, one comes right after the other.
        """
        self._haste = haste
        self._among_readers = False
        # When the last step among readers was begun.
        self._stepped = 0.0
        # When the last batch that was written was begun, and how long it took.
        self._begun = float("-inf")
        self._took = 0.0
        self._usually = self._most = _EVENTS if most is None else most
        self._sources = sources
        self._filling = filling
        self._next = filling.batch()
        # The batch that is being written, or was when that failed.
        self._current: Batch | None = None
        # When the last event written of each stream was stored.
        self._latest: dict[str, int | None] = {}
        self._reading: asyncio.Task[tuple[str, ReadBatch]] | None = None
        self._writing: asyncio.Task[None] | None = None
        # How many events are being written.
        self._written = 0

    async def __aenter__(self) -> Self:
        await self._sources.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        # Each of the waits may be cut short, by somebody who cancels once more: nothing is left running even so.
        try:
            if self._writing is not None and self._written < _BACKLOG // 2:
                # A small batch is as good as written; cut off, it would be for another to do again.
                await asyncio.wait([self._writing], timeout=_LAST_WRITE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                await self._sources.__aexit__(kind, error, trace)

    async def step(self, timeout: float | None = None) -> Batch | None:
        """Writes what has come, and returns it; an empty batch is a sign of life. None if nothing came in time.

        Only the waiting is cut short, never the writing.

        Raises:
            BuildSuperseded: as `Filling.write`; and whatever reading raises.
        """
        if self._among_readers:
            await asyncio.sleep(min((time.monotonic() - self._stepped) * _REST, _LONGEST_REST))
            self._stepped = time.monotonic()
        if self._haste is not None:
            # Without reading: what comes meanwhile lies ready, and is taken in one piece.
            await self._haste.pause(self._begun, self._took)
        if not self._next.reads and not await self._read(timeout):
            return None
        await self._gather()
        begun = time.monotonic()
        batch = self._current = self._next
        self._next = self._filling.batch()
        self._written = batch.events
        self._writing = asyncio.create_task(self._filling.commit(batch))
        while not self._writing.done():
            if self._among_readers or self._is_full() or (self._haste is not None and self._written < _NEAR):
                await asyncio.wait([self._writing])
            else:
                await self._read(None, self._writing)
        await self._writing
        self._latest |= {stream: messages[-1].stored_ns for stream, messages in batch.messages.items() if messages}
        self._current = None
        if batch.moves:
            # A mere sign of life has no price, and keeps no event waiting.
            self._begun, self._took = begun, batch.seconds
        return batch

    @property
    def among_readers(self) -> bool:
        """Whether to make room: the server, this process and the database then work one after the other, a little at a
        time, and rest in between. Another core is free for others nearly always, and most of the time all are."""
        return self._among_readers

    @among_readers.setter
    def among_readers(self, among_readers: bool) -> None:
        if among_readers and not self._among_readers:
            self._stepped = time.monotonic()
        self._among_readers = among_readers
        self._most = min(self._usually, _EVENTS_AMONG_READERS) if among_readers else self._usually
        self._sources.take_turns(among_readers)

    @property
    def at_end(self) -> bool:
        """Whether everything has been written that there was when the streams were last heard of."""
        return self._sources.at_end and not self._next.moves

    @property
    def is_near_end(self) -> bool:
        """Whether so little is left that somebody can wait for it. While others write without a pause there is always
        something left."""
        return self.at_end or (self.is_counted and self.left <= _NEAR)

    @property
    def left(self) -> int:
        """How many events are known that are not written yet."""
        return self._next.events + self._sources.left

    @property
    def is_counted(self) -> bool:
        """Whether `left` counts every stream; the first moments pass without some."""
        return self._sources.is_counted

    def pending(self, stream: str) -> int:
        """How many events of a stream are known that are not read yet."""
        return self._sources.pending[stream] or 0

    def left_of(self, stream: str) -> int:
        """How many events of a stream are known that are not written yet."""
        return len(self._next.messages.get(stream, ())) + self.pending(stream)

    def oldest(self, stream: str) -> int | None:
        """When the oldest event of the stream was stored that is not written yet: nanoseconds; None: there is none.

        Of one that was not read yet it is known that it is no older than the last one written.
        """
        for batch in (self._current, self._next):
            if batch is not None and (messages := batch.messages.get(stream)):
                return messages[0].stored_ns
        return self._latest.get(stream) if self.pending(stream) else None

    async def _gather(self) -> None:
        deadline = time.monotonic() + _GATHERING_SECONDS
        while self._sources.left >= _BACKLOG and not self._is_full() and (left := deadline - time.monotonic()) > 0:
            await self._read(left)

    def _is_full(self) -> bool:
        return self._next.events >= self._most or self._next.bytes >= _BYTES

    async def _read(self, timeout: float | None, other: "asyncio.Task[None] | None" = None) -> bool:
        """Takes one more piece of a stream; False if it did not come in time, or not before the other task ended."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._sources.next())
        awaited = [self._reading] if other is None else [self._reading, other]
        await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return False
        reading, self._reading = self._reading, None
        stream, piece = reading.result()
        self._filling.add_to_batch(self._next, stream, piece.messages, piece.position, piece.gaps)
        self._next.reads += 1
        return True
