"""Follows a stream for synchronous code.

The reader's buffer is the bounded queue: it fetches ahead in the background, and stops when it is full.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import RLock

from eventsourcing.persistence import ApplicationRecorder, InterfaceError, Notification, Subscription

from contracts.errors import Unavailable
from streams.message import Message
from streams.persistence.error_translation import in_the_librarys_words
from streams.persistence.sync_bridge import Bridge
from streams.reader import Reader

# Maximum of messages that wait to be read, and of messages per read.
_BUFFER = 2_000
_LIMIT = 500
# Seconds that the end of a subscription waits for its reader to be closed.
_CLOSING = 5.0


class JetStreamSubscription(Subscription[ApplicationRecorder]):
    """Iterates over notifications in order, without gaps and without end; blocks until there is one."""

    def __init__(
        self,
        recorder: ApplicationRecorder,
        gt: int | None,
        topics: Sequence[str],
        *,
        to_notification: Callable[[Message], Notification],
        bridge: Bridge,
        stream: str,
        subject_filter: str,
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._to_notification = to_notification
        self._bridge = bridge
        self._wanted = frozenset(topics)
        self._feed = _Feed(
            Reader(
                bridge.client,
                stream,
                after=gt or 0,
                subject_filter=subject_filter,
                name="subscription",
                buffer=_BUFFER,
                outlasts_refusals=True,
            )
        )
        self._stopping = RLock()
        self._taking: Future[list[Message]] | None = None
        self._closed: Future[None] | None = None
        self._arrived: deque[Notification] = deque()

    def __next__(self) -> Notification:
        """
        Raises:
            StopIteration: the subscription was stopped.
            InterfaceError: the connection was closed.
            PersistenceError: as `in_the_librarys_words`.
        """
        while not self._has_been_stopped:
            if self._arrived:
                return self._arrived.popleft()
            with in_the_librarys_words():
                opened = [self._to_notification(message) for message in self._take()]
            self._arrived.extend(event for event in opened if not self._wanted or event.topic in self._wanted)
        raise StopIteration

    def stop(self) -> None:
        """Ends the iteration, also while another thread waits in it; idempotent."""
        with self._stopping:
            super().stop()
            if self._taking is not None:
                self._taking.cancel()
            if self._closed is None:
                with suppress(InterfaceError):
                    self._closed = self._bridge.submit(self._feed.close())

    def __exit__(self, *args: object, **kwargs: object) -> None:
        super().__exit__(*args, **kwargs)
        if self._closed is not None:
            with suppress(CancelledError, TimeoutError):
                self._closed.result(_CLOSING)

    def _take(self) -> list[Message]:
        """The messages that have arrived; may be empty, and is so after a stop."""
        with self._stopping:
            if self._has_been_stopped:
                return []
            self._taking = taking = self._bridge.submit(self._feed.next())
        try:
            return taking.result()
        except CancelledError:
            if self._has_been_stopped:
                return []
            raise InterfaceError("the connection was closed") from None


class _Feed:
    """The reader, used on the event loop: closed only when no read is in progress."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._batches = reader.batches(limit=_LIMIT)
        self._turn = asyncio.Lock()

    async def next(self) -> list[Message]:
        async with self._turn:
            async for batch in self._batches:
                return batch.messages
        raise Unavailable("The subscription has already failed.")

    async def close(self) -> None:
        async with self._turn, self._reader:
            pass
