"""Stores the events of a checked file in the streams, after those that an interrupted import has stored."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

from nats.aio.client import Client

from infra.archive.format.archive_reader import Block, sound_blocks
from infra.archive.format.layout import Header
from infra.operator_errors import OperatorError
from streams.reader import Reader
from streams.restore import ArchivedMessage, SequenceMismatch, StreamRestorer

_PAGE = 1_000
# Seconds of silence from the server after which the comparison with stored events fails.
_SILENCE = 60.0


class Filling:
    """Reads the file and the stored events in step, and stores what is missing."""

    def __init__(self, header: Header, progress: Callable[[int, int], None]) -> None:
        self._header = header
        self._progress = progress
        self._done = 0

    async def fill(self, path: Path, owners: dict[str, Client], ends: dict[str, int]) -> int:
        """Stores every event at its sequence; returns how many were stored before."""
        for stream in self._header.streams:
            if ends[stream.name] > stream.last_sequence:
                raise SequenceMismatch(stream.name, stream.last_sequence + 1)
        stored = {name: _Stored(nc, name, ends[name]) for name, nc in owners.items()}
        restoring = {name: StreamRestorer(nc, name) for name, nc in owners.items()}
        blocks = sound_blocks(path, self._header)
        coming = _read_ahead(blocks)
        try:
            while (block := await coming) is not None:
                coming = _read_ahead(blocks)
                fresh = await stored[block.stream].compare(block)
                if fresh:
                    await restoring[block.stream].put(block.last - len(fresh) + 1, fresh)
                self._done += len(block.events)
                self._progress(self._done, self._header.events)
        finally:
            await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()
            blocks.close()
            for events in stored.values():
                await events.close()
        return sum(ends.values())


def _read_ahead(blocks: Iterator[Block]) -> asyncio.Task[Block | None]:
    """Unpacks the next block while the server is busy with the previous one."""
    return asyncio.create_task(asyncio.to_thread(next, blocks, None))


class _Stored:
    """The events that a stream has already, read in step with the file."""

    def __init__(self, nc: Client, stream: str, end: int) -> None:
        self._stream = stream
        self._end = end
        self._reader = Reader(nc, stream, name="compare", buffer=2 * _PAGE)
        self._events: AsyncGenerator[tuple[int, str, bytes], None] = self._read()

    async def compare(self, block: Block) -> list[ArchivedMessage]:
        """Returns the block's events that are not stored yet.

        Raises:
            SequenceMismatch: a different event is stored at the sequence of one of them.
        """
        there = max(0, min(self._end - block.first + 1, len(block.events)))
        for sequence, event in enumerate(block.events[:there], block.first):
            if await anext(self._events) != (sequence, event.subject, event.payload):
                raise SequenceMismatch(self._stream, sequence)
        return block.events[there:]

    async def close(self) -> None:
        await self._events.aclose()
        await self._reader.__aexit__()

    async def _read(self) -> AsyncGenerator[tuple[int, str, bytes], None]:
        batches = aiter(self._reader.batches(limit=_PAGE))
        while True:
            try:
                async with asyncio.timeout(_SILENCE):
                    batch = await anext(batches)
            except TimeoutError:
                raise OperatorError(f"no message from NATS for {_SILENCE:.0f} s") from None
            for message in batch.messages:
                yield message.sequence, message.subject, message.payload
