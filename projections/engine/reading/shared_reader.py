"""One shared reader of a stream for all live read models of a process that are near the stream's end.

Otherwise each read model would have its own consumer, and the process would receive and decode every event once per
consumer. The shared reader keeps the last messages in a window, from which each follower takes what it has not had yet,
at its own pace. A follower that lags uses its own reader until it has caught up.

Each follower keeps its own position, and takes from the window only while the window holds everything after that
position. Otherwise it continues with its own reader, which starts after the position.
"""

import asyncio
from collections import Counter
from types import TracebackType
from typing import Self

from nats.aio.client import Client as NATS

from projections.engine.reading.message_window import Window
from streams.cancellation import stop_if_cancelled
from streams.reader import ReadBatch, Reader

# Messages per batch.
_LIMIT = 1_000
# A follower with fewer pending events is near the end.
_NEAR = 1_000

# A stream and its subject filter.
Key = tuple[str, str | None]


class SharedReaders:
    """The shared readers of one process."""

    def __init__(self, nc: NATS) -> None:
        self.nc = nc
        # Number of followers, with their own readers or the shared one.
        self.followers: Counter[Key] = Counter()
        self.readers: dict[Key, SharedReader] = {}

    def follower(self, stream: str, subject_filter: str | None, *, after: int, name: str) -> "Follower":
        """Returns a follower; `name` is the name of its own consumers."""
        return Follower(self, (stream, subject_filter), after, name)


class SharedReader:
    """Reads on demand, when a member needs more than the window holds."""

    def __init__(self, sharing: SharedReaders, key: Key, after: int) -> None:
        self._sharing = sharing
        self._key = key
        self._window = Window(after)
        self._reconnects = sharing.nc.stats["reconnects"]
        self._members = 0
        self._wanted, self._has_read = asyncio.Event(), asyncio.Event()
        self._failure: Exception | None = None
        sharing.readers[key] = self
        self._reading = asyncio.create_task(self._read(after), name=f"shared reader of {key[0]}")

    async def join(self, position: int) -> bool:
        """Adds a member that has read up to `position`; returns False if the window does not hold what follows.

        A member that is slightly ahead causes one more read before it is refused. It is not accepted while ahead, since
        it would not notice that the stream has lost its end.
        """
        self._members += 1
        joined = False
        try:
            if position > self._window.end:
                await self._read_on()
            joined = self._failure is None and self._holds(position)
        finally:
            if not joined:
                await self.leave()
        return joined

    async def leave(self) -> None:
        """Removes a member; the last one ends the shared reader."""
        self._members -= 1
        if not self._members:
            self._forget_me()
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def next(self, position: int, limit: int) -> ReadBatch | None:
        """The member's next batch, which may be empty as a heartbeat; None if the window no longer holds it.

        Raises:
            the error that ended the reader.
        """
        if self._window.end == position:
            await self._read_on()
        if self._failure is not None:
            raise self._failure
        return self._window.after(position, limit) if self._holds(position) else None

    async def _read_on(self) -> None:
        if self._failure is None:
            self._wanted.set()
            await self._has_read.wait()

    def _holds(self, position: int) -> bool:
        self._check_connection()
        return self._window.holds(position)

    def _check_connection(self) -> None:
        # After a restart the server may have lost its last messages and reused their sequences. Followers that have not
        # taken the messages from the window then read them from the server again.
        reconnects = self._sharing.nc.stats["reconnects"]
        if reconnects != self._reconnects:
            self._reconnects = reconnects
            self._window.forget()

    async def _read(self, after: int) -> None:
        stream, subject_filter = self._key
        try:
            async with Reader(
                self._sharing.nc,
                stream,
                after=after,
                subject_filter=subject_filter,
                name="projections",
                outlasts_refusals=True,
                report_gaps=subject_filter is None,
            ) as reader:
                while True:
                    await self._wanted.wait()
                    batch = await reader.next(_LIMIT)
                    # Whoever has cancelled it waits for its end.
                    stop_if_cancelled()
                    self._wanted.clear()
                    self._check_connection()
                    self._window.add(batch)
                    self._wake()
        except Exception as error:  # raised by `next`
            self._failure = error
        finally:
            self._failure = self._failure or ConnectionError(f"the shared reader of {stream} ended")
            self._forget_me()
            self._wake()

    def _wake(self) -> None:
        woken, self._has_read = self._has_read, asyncio.Event()
        woken.set()

    def _forget_me(self) -> None:
        """Removes this reader, so that the next follower starts a new one."""
        if self._sharing.readers.get(self._key) is self:
            del self._sharing.readers[self._key]


class Follower:
    """Reads one stream after a position like a `Reader`, and joins the shared reader as soon as possible."""

    def __init__(self, sharing: SharedReaders, key: Key, after: int, name: str) -> None:
        self._sharing = sharing
        self._key = key
        self._position = after
        self._name = name
        # Exactly one of the two is set, except during a switch.
        self._own: Reader | None = None
        self._shared: SharedReader | None = None
        self._is_near = False

    async def __aenter__(self) -> Self:
        self._sharing.followers[self._key] += 1
        self._read_separately()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sharing.followers[self._key] -= 1
        try:
            await self._leave()
        finally:
            await self._drop()

    async def next(self, limit: int) -> ReadBatch:
        """The next batch, without a gap; raises what `Reader.next` raises."""
        if self._own is not None and await self._joins():
            await self._drop()
        if self._shared is not None:
            batch = await self._shared.next(self._position, limit)
            if batch is not None:
                self._position = batch.position
                return batch
            self._read_separately()
            await self._leave()
        assert self._own is not None
        batch = await self._own.next(limit)
        self._position, self._is_near = batch.position, batch.pending < _NEAR
        return batch

    async def _joins(self) -> bool:
        shared = self._sharing.readers.get(self._key)
        if shared is None:
            # A single follower keeps its own reader.
            if not self._is_near or self._sharing.followers[self._key] < 2:
                return False
            shared = SharedReader(self._sharing, self._key, self._position)
        if not await shared.join(self._position):
            return False
        self._shared = shared
        return True

    def _read_separately(self) -> None:
        stream, subject_filter = self._key
        self._own = Reader(
            self._sharing.nc,
            stream,
            after=self._position,
            subject_filter=subject_filter,
            name=self._name,
            outlasts_refusals=True,
            report_gaps=subject_filter is None,
        )
        self._is_near = False

    async def _drop(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.__aexit__(None, None, None)

    async def _leave(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.leave()
