"""Reads several streams at once, each in its order, one batch ahead of whoever applies them."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from nats.aio.client import Client as NATS

from contracts.positions import Position
from streams.reader import ReadBatch, Reader

LIMIT = 5_000


class Sources:
    """The streams of one projection from a position on. A batch waits until the one before it was taken, so that a
    slow database slows the reading and the batches grow."""

    def __init__(
        self, nc: NATS, filters: Mapping[str, str | None], after: Position, *, name: str, limit: int = LIMIT
    ) -> None:
        self._nc = nc
        self._filters = filters
        self._after = after
        self._name = name
        self._limit = limit
        self._batches: asyncio.Queue[tuple[str, ReadBatch] | Exception] = asyncio.Queue(maxsize=1)
        self._readers: list[asyncio.Task[None]] = []
        # How many events each stream still has to offer; None until its first batch was taken.
        self.pending: dict[str, int | None] = dict.fromkeys(filters)

    async def __aenter__(self) -> Self:
        self._readers = [
            asyncio.create_task(self._read(stream), name=f"{self._name}-{stream}") for stream in self._filters
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

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
    def at_end(self) -> bool:
        """Whether the last batch of every stream was the last there was."""
        return all(pending == 0 for pending in self.pending.values())

    async def _read(self, stream: str) -> None:
        try:
            async with Reader(
                self._nc,
                stream,
                after=self._after.of(stream),
                subject_filter=self._filters[stream],
                name=self._name,
            ) as reader:
                async for batch in reader.batches(limit=self._limit):
                    await self._batches.put((stream, batch))
            raise ConnectionError(f"the reader of {stream} ended")
        except Exception as error:  # handed over: raised by `next`
            await self._batches.put(error)
