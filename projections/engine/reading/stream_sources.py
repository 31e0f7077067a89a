"""Reads several streams concurrently, each in order, one batch ahead of the pipeline."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.positions import Position
from projections.engine.reading.shared_reader import Follower, SharedReaders
from streams.jetstream.api import JetStream
from streams.jetstream.subject_reader import reachable
from streams.loss.missing_events import Gap
from streams.message import Message
from streams.personal_data.reading import PersonalData
from streams.reader import ReadBatch, Reader

# Messages per batch. Merging them takes a few milliseconds, after which other tasks of the process run.
LIMIT = 1_000
# A command fails after this long without a message or heartbeat.
SILENCE_SECONDS = 60.0
# Seconds between two batches of a projection while nothing happens, whatever the number of its streams.
_SIGN_OF_LIFE = 0.9


class Sources:
    """Reads the streams of one projection after a position.

    A batch waits until the previous one was taken, so a slow database slows down reading and the batches grow.
    """

    def __init__(
        self,
        nc: NATS,
        filters: Mapping[str, str | None],
        after: Position,
        *,
        name: str,
        until: Position | None = None,
        limit: int = LIMIT,
        sharing: SharedReaders | None = None,
        reads_all: bool = False,
        personal_data: PersonalData = PersonalData.PLAIN,
    ) -> None:
        """
        `until`: the last position to read; None: no end.
        `sharing`: the shared readers to join; None: reads with its own consumers.
        `reads_all`: applies the filters here and not at the server, which needs the permission to read the whole
            stream. A server-side filter hides lost events; without it each of them is reported.
        `personal_data`: what is returned in place of sealed personal data; shared readers return plain text.
        """
        assert sharing is None or personal_data is PersonalData.PLAIN
        self._nc = nc
        self._filters = filters
        self._after = after
        self._until = until
        self._name = name
        self._limit = limit
        self._sharing = sharing
        self._reads_all = reads_all
        self._personal_data = personal_data
        self._batches: asyncio.Queue[tuple[str, ReadBatch, float] | Exception] = asyncio.Queue(maxsize=1)
        self._tasks: list[asyncio.Task[None]] = []
        self._readers: list[Reader] = []
        self._in_turns = False
        # Loop time of the last batch, of whichever stream.
        self._last = float("-inf")
        # Events left to read in each stream; None until its first batch was taken.
        self.pending: dict[str, int | None] = dict.fromkeys(filters)
        # Unix time at which the read of each stream's last batch began; `pending` is at least as recent.
        self.read_at: dict[str, float] = {}
        if until is not None:
            self.pending |= {stream: 0 for stream in filters if after.sequence(stream) >= until.sequence(stream)}

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._read(stream), name=f"{self._name}-{stream}")
            for stream in self._filters
            if self.pending[stream] != 0
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Their errors refer to what was read, and to this object.
        self._tasks.clear()

    def take_turns(self, in_turns: bool) -> None:
        """Sets whether to request more only after all messages were taken, so that server and client alternate.

        Shared readers are not affected.
        """
        self._in_turns = in_turns
        for reader in self._readers:
            reader.take_turns(in_turns)

    async def next(self) -> tuple[str, ReadBatch]:
        """Waits for the next batch of any stream, and returns it with the stream's name.

        Raises:
            the error that ended a reader.
        """
        arrival = await self._batches.get()
        if isinstance(arrival, Exception):
            raise arrival
        stream, batch, begun = arrival
        self.pending[stream] = batch.pending
        self.read_at[stream] = begun
        return stream, batch

    @property
    def left(self) -> int:
        """The number of events left to read, as far as known."""
        return sum(pending or 0 for pending in self.pending.values())

    @property
    def is_counted(self) -> bool:
        """Whether the number of events left is known for every stream."""
        return all(pending is not None for pending in self.pending.values())

    @property
    def at_end(self) -> bool:
        """Whether every stream was at its end with its last batch."""
        return all(pending == 0 for pending in self.pending.values())

    async def _read(self, stream: str) -> None:
        end = None if self._until is None else self._until.sequence(stream)
        subject_filter = self._filters[stream] if self._reads_all else None
        loop, position = asyncio.get_running_loop(), -1
        try:
            async with self._reader(stream) as reader:
                while True:
                    begun = time.time()
                    batch = await reader.next(self._limit)
                    is_news = batch.position > position or batch.pending != self.pending[stream]
                    if not is_news and loop.time() < self._last + _SIGN_OF_LIFE:
                        # An empty batch that says again what another stream's has just said: the system is idle.
                        self.read_at[stream] = begun
                        continue
                    self._last, position = loop.time(), batch.position
                    if subject_filter is not None:
                        batch = _passing(batch, subject_filter)
                    await self._batches.put((stream, batch if end is None else _up_to(batch, end), begun))
                    if end is not None and batch.position >= end:
                        return
        except Exception as error:  # raised by `next`
            await self._batches.put(error)

    def _reader(self, stream: str) -> Reader | Follower:
        after, subject_filter = self._after.sequence(stream), None if self._reads_all else self._filters[stream]
        if self._sharing is not None:
            return self._sharing.follower(stream, subject_filter, after=after, name=self._name)
        reader = Reader(
            self._nc,
            stream,
            after=after,
            subject_filter=subject_filter,
            name=self._name,
            outlasts_refusals=True,
            report_gaps=subject_filter is None,
            personal_data=self._personal_data,
        )
        reader.take_turns(self._in_turns)
        self._readers.append(reader)
        return reader


async def end_of(nc: NATS, stream: str) -> int:
    """The stream's last sequence; 0 if the stream does not exist.

    Raises:
        Unavailable: the server does not answer, or not for this stream.
        PermissionError: no permission to read the stream.
    """
    return await reachable(JetStream(nc).last_sequence(stream)) or 0


def _up_to(batch: ReadBatch, end: int) -> ReadBatch:
    if batch.position < end:
        return batch
    messages: list[Message] = [message for message in batch.messages if message.sequence <= end]
    gaps = [Gap(gap.stream, gap.first, min(gap.last, end)) for gap in batch.gaps if gap.first <= end]
    return ReadBatch(messages, end, 0, gaps)


def _passing(batch: ReadBatch, subject_filter: str) -> ReadBatch:
    messages = [message for message in batch.messages if subjects.passes(message.subject, subject_filter)]
    return ReadBatch(messages, batch.position, batch.pending, batch.gaps)
