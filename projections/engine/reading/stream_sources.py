"""Reads several streams at once, each in its order, one batch ahead of whoever applies them."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.errors import Unavailable
from contracts.positions import Position
from projections.engine.reading.shared_reader import Follower, SharedReaders
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused
from streams.jetstream.requests import Denied, RequestFailed
from streams.loss.missing_events import Gap
from streams.message import Message
from streams.reader import ReadBatch, Reader

# Folding so many takes a few milliseconds, after which whatever else goes on in the process has its turn.
LIMIT = 1_000
# After this long without a sign of life a command gives up on the streams.
SILENCE_SECONDS = 60.0


class Sources:
    """The streams of one projection from a position on. A batch waits until the one before it was taken, so that a
    slow database slows the reading and the batches grow."""

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
    ) -> None:
        """
        `until`: each stream is read up to here and no further; None: without end.
        `sharing`: with whom to read together; None: nobody, at a pace of its own.
        `reads_all`: the filters are applied here and not by the server, which takes the right to read everything. A
            filter leaves gaps by nature: without it, as in a stream that has none, each event that is lost is named.
        """
        self._nc = nc
        self._filters = filters
        self._after = after
        self._until = until
        self._name = name
        self._limit = limit
        self._sharing = sharing
        self._reads_all = reads_all
        self._batches: asyncio.Queue[tuple[str, ReadBatch] | Exception] = asyncio.Queue(maxsize=1)
        self._tasks: list[asyncio.Task[None]] = []
        self._readers: list[Reader] = []
        self._in_turns = False
        # How many events each stream still has to offer; None until its first batch was taken.
        self.pending: dict[str, int | None] = dict.fromkeys(filters)
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

    def take_turns(self, in_turns: bool) -> None:
        """Whether the server looks for more only when what it has sent was taken, so that only one of us is busy.

        It is of no effect on what is read together with others.
        """
        self._in_turns = in_turns
        for reader in self._readers:
            reader.take_turns(in_turns)

    async def next(self) -> tuple[str, ReadBatch]:
        """The next batch of any of the streams; waits for as long as there is none.

        Raises:
            what a reader raised, where it could not go on.
        """
        found = await self._batches.get()
        if isinstance(found, Exception):
            raise found
        stream, batch = found
        self.pending[stream] = batch.pending
        return found

    @property
    def left(self) -> int:
        """How many events are known to be still on offer."""
        return sum(pending or 0 for pending in self.pending.values())

    @property
    def is_counted(self) -> bool:
        """Whether every stream has said how many events it has to offer."""
        return all(pending is not None for pending in self.pending.values())

    @property
    def at_end(self) -> bool:
        """Whether the last batch of every stream was the last there was."""
        return all(pending == 0 for pending in self.pending.values())

    async def _read(self, stream: str) -> None:
        end = None if self._until is None else self._until.sequence(stream)
        subject_filter = self._filters[stream] if self._reads_all else None
        try:
            async with self._reader(stream) as reader:
                while True:
                    batch = await reader.next(self._limit)
                    if subject_filter is not None:
                        batch = _passing(batch, subject_filter)
                    await self._batches.put((stream, batch if end is None else _up_to(batch, end)))
                    if end is not None and batch.position >= end:
                        return
        except Exception as error:  # handed over: raised by `next`
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
            whole=subject_filter is None,
        )
        reader.take_turns(self._in_turns)
        self._readers.append(reader)
        return reader


async def end_of(nc: NATS, stream: str) -> int:
    """The stream's last sequence; 0 where no service has made it yet, or somebody has deleted it.

    Raises:
        Unavailable: the server does not answer, or not for this stream.
    """
    try:
        return (await JetStream(nc).info(stream)).state.last_seq
    except Denied as denied:
        raise PermissionError(f"no right to read {stream}") from denied
    except RequestFailed as failure:
        raise Unavailable("NATS does not answer.") from failure
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            return 0
        if refused.may_pass:
            raise Unavailable(f"NATS does not serve {stream}: {refused}") from refused
        raise


def _up_to(batch: ReadBatch, end: int) -> ReadBatch:
    if batch.position < end:
        return batch
    messages: list[Message] = [message for message in batch.messages if message.sequence <= end]
    gaps = [Gap(gap.stream, gap.first, min(gap.last, end)) for gap in batch.gaps if gap.first <= end]
    return ReadBatch(messages, end, 0, gaps)


def _passing(batch: ReadBatch, subject_filter: str) -> ReadBatch:
    messages = [message for message in batch.messages if subjects.passes(message.subject, subject_filter)]
    return ReadBatch(messages, batch.position, batch.pending, batch.gaps)
