"""Reads and writes concurrently: while PostgreSQL writes one batch, the next one is filled.

A batch holds the events that arrived while the previous one was written: one under low load, thousands with a backlog.
Far from the end of the streams the pipeline waits for a large batch, since no caller waits for those events and a large
batch writes each row once.
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

# Maximum size of a batch, exceeded by at most the last read; at most two batches are in memory.
_EVENTS = 20_000
_BYTES = 32 * 1024 * 1024
# With at least this many events left to read, a batch is filled for up to this many seconds.
_BACKLOG = 2_000
_GATHERING_SECONDS = 1.0
# How long the last write may take on exit.
_LAST_WRITE_SECONDS = 2.0
# With `among_readers`: maximum events in a batch, and the pause after it as a multiple of its duration, up to a limit.
_EVENTS_AMONG_READERS = 4_000
_REST = 2.0
_LONGEST_REST = 0.3
# This many events are written within some tens of milliseconds.
_NEAR = 500


class Pipeline:
    """Fills a build from its streams. After an error in a step the pipeline is unusable."""

    def __init__(
        self, sources: Sources, filling: BuildWriter, *, most: int | None = None, pacing: BatchPacing | None = None
    ) -> None:
        """
        `most`: maximum events in a batch, if fewer than usual.
        `pacing`: the pacing of batches; None: no pauses.
        """
        self._pacing = pacing
        self._among_readers = False
        # Whether to wait for large batches far from the end.
        self._gathers = True
        # Start of the last step with `among_readers`.
        self._stepped = 0.0
        # Start and duration of the last write.
        self._begun = float("-inf")
        self._took = 0.0
        self._usually = self._most = most or _EVENTS
        self._sources = sources
        self._filling = filling
        self._next = filling.batch()
        # The batch that is being written, or whose write failed.
        self._current: Batch | None = None
        # Storage time of each stream's last written event, in nanoseconds.
        self._latest: dict[str, int | None] = {}
        self._reading: asyncio.Task[tuple[str, ReadBatch]] | None = None
        self._writing: asyncio.Task[None] | None = None
        # Number of events being written.
        self._written = 0

    async def __aenter__(self) -> Self:
        await self._sources.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        # Each wait may be interrupted by another cancellation; no task is left running even so.
        try:
            if self._writing is not None and self._written < _BACKLOG // 2:
                # A small batch is almost written; if cancelled, another process would have to write it again.
                await asyncio.wait([self._writing], timeout=_LAST_WRITE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                # A failed task refers to its error, whose traceback refers to this pipeline: everything that was read
                # would wait for a full pass of the garbage collector, and a failure may repeat every second.
                self._reading = self._writing = None
                await self._sources.__aexit__(kind, error, trace)

    async def step(self, timeout: float | None = None) -> Batch | None:
        """Writes the next batch and returns it; an empty batch is a heartbeat. None if nothing arrived in time.

        The timeout applies to the first read, not to the write.

        Raises:
            BuildSuperseded: as `BuildWriter.commit`.
            the error that ended a reader.
        """
        if self._among_readers:
            await asyncio.sleep(min((time.monotonic() - self._stepped) * _REST, _LONGEST_REST))
            self._stepped = time.monotonic()
        if self._pacing is not None:
            # Without reading: messages that arrive meanwhile are taken in one read.
            await self._pacing.pause(self._begun, self._took)
        if not self._next.reads and not await self._read(timeout):
            return None
        await self._gather()
        begun = time.monotonic()
        batch = self._current = self._next
        self._next = self._filling.batch()
        self._written = batch.events
        self._writing = asyncio.create_task(self._filling.commit(batch))
        while not self._writing.done():
            if self._among_readers or self._is_full() or (self._pacing is not None and self._written < _NEAR):
                await asyncio.wait([self._writing])
            else:
                await self._read(None, self._writing)
        await self._writing
        self._latest |= {stream: messages[-1].stored_ns for stream, messages in batch.messages.items() if messages}
        self._current = None
        if batch.moves:
            # A heartbeat costs nothing and must not delay the next batch.
            self._begun, self._took = begun, batch.seconds
        return batch

    @property
    def among_readers(self) -> bool:
        """Whether to throttle in favour of readers: the server, this process and the database then work one after the
        other in small batches, with pauses. Nearly always one more core is free, and most of the time all are."""
        return self._among_readers

    @among_readers.setter
    def among_readers(self, among_readers: bool) -> None:
        if among_readers and not self._among_readers:
            self._stepped = time.monotonic()
        self._among_readers = among_readers
        self._most = min(self._usually, _EVENTS_AMONG_READERS) if among_readers else self._usually
        self._sources.take_turns(among_readers)

    def hurry(self, most: int) -> None:
        """Writes what has arrived without waiting for more, at most `most` events at once, from now on."""
        self._gathers = False
        self._usually = self._most = min(self._usually, most)

    @property
    def at_end(self) -> bool:
        """Whether all events are written that the streams had at their last read."""
        return self._sources.at_end and not self._next.moves

    @property
    def is_near_end(self) -> bool:
        """Whether few enough events are left for a caller to wait for them; under constant writes some always are."""
        return self.at_end or (self.is_counted and self.left <= _NEAR)

    @property
    def left(self) -> int:
        """The known number of events that are not written yet."""
        return self._next.events + self._sources.left

    @property
    def is_counted(self) -> bool:
        """Whether `left` includes every stream; it does not until each was read once."""
        return self._sources.is_counted

    def pending(self, stream: str) -> int:
        """The known number of a stream's events that are not read yet."""
        return self._sources.pending[stream] or 0

    def left_of(self, stream: str) -> int:
        """The known number of a stream's events that are not written yet."""
        read = (batch.messages.get(stream, ()) for batch in (self._current, self._next) if batch is not None)
        return sum(map(len, read)) + self.pending(stream)

    def oldest(self, stream: str) -> int | None:
        """Storage time of the stream's oldest event that is not written yet, in nanoseconds; None: there is none.

        If that event was not read yet, this is the time of the last written event, a lower bound.
        """
        for batch in (self._current, self._next):
            if batch is not None and (messages := batch.messages.get(stream)):
                return messages[0].stored_ns
        return self._latest.get(stream) if self.pending(stream) else None

    def read_at(self, stream: str) -> float:
        """Unix time of the stream's last read; events that were stored later may not be known yet."""
        return self._sources.read_at[stream]

    async def _gather(self) -> None:
        if not self._gathers:
            return
        deadline = time.monotonic() + _GATHERING_SECONDS
        while self._sources.left >= _BACKLOG and not self._is_full() and (left := deadline - time.monotonic()) > 0:
            await self._read(left)

    def _is_full(self) -> bool:
        most = min(self._most, self._filling.largest_batch or self._most)
        return self._next.events >= most or self._next.bytes >= _BYTES

    async def _read(self, timeout: float | None, other: "asyncio.Task[None] | None" = None) -> bool:
        """Adds one more read to the next batch; False after the timeout, or if the other task ended first."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._sources.next())
        awaited = [self._reading] if other is None else [self._reading, other]
        await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return False
        reading, self._reading = self._reading, None
        stream, piece = reading.result()
        self._next.reads += 1
        await self._filling.add_to_batch(self._next, stream, piece.messages, piece.position, piece.gaps)
        return True
