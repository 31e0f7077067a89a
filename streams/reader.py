"""Fast ordered reading of a stream, for replay and for following: gapless, and repaired unseen.

The reader knows one thing only, the position up to which it has given everything out. Whatever happens to its
consumer, the next one begins there, so that nothing is missed and nothing comes twice.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Self

import msgspec
from nats.aio.client import Client

from contracts.errors import Unavailable
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused
from streams.jetstream.ordered_consumer import Broken, Consumer
from streams.jetstream.requests import Closed, Denied, RequestFailed
from streams.loss.missing_events import Gap, missing
from streams.message import Message
from streams.topology import StreamMissing

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0


class ReadBatch(msgspec.Struct, frozen=True):
    """What was read at once."""

    # In order; empty when only time, or the position under a filter, has moved on.
    messages: list[Message]
    # Everything up to this sequence of the stream that passes the filter has been given out.
    position: int
    # How many more the server says there are; 0: the end was reached.
    pending: int
    # Sequences up to the position that have no event, where the reader reads a whole stream of events.
    gaps: list[Gap] = []


class StreamWentBack(Exception):
    """A stream ends before the position that was read already: it is not the stream that it was."""

    def __init__(self, stream: str, end: int, position: int) -> None:
        super().__init__(f"stream {stream} ends at {end}, but was read up to {position}: events are gone")


class Reader:
    """Reads one stream from a position on, and follows it."""

    def __init__(
        self,
        nc: Client,
        stream: str,
        *,
        after: int = 0,
        subject_filter: str | None = None,
        name: str,
        buffer: int = 10_000,
        headers: bool = False,
        patience: float = 60.0,
        whole: bool = False,
    ) -> None:
        """
        `name`: stands in the name of every consumer this reader makes, behind the connection's own name.
        `buffer`: how many messages may wait in memory (16 MiB of them at most, by default limits of the server).
        `headers`: whether messages come with those that they were stored with; they halve the rate.
        `patience`: seconds to wait for a stream that is not there yet, or for a server that will not serve it.
        `whole`: of a stream of events, without a filter: every sequence has an event, and what has none is named.
        """
        assert not (whole and subject_filter)
        self._nc = nc
        self._jetstream = JetStream(nc)
        self._stream = stream
        self._position = after
        self._filter = subject_filter
        owner = nc.options.get("name")
        self._name = re.sub(r"[^A-Za-z0-9_-]", "-", f"{owner}-{name}" if owner else name)
        self._buffer = buffer
        self._headers = headers
        self._patience = patience
        self._whole = whole
        self._in_turns = False
        self._consumer: Consumer | None = None
        # Where the stream ended when the consumer was made.
        self._end = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._drop()

    def take_turns(self, in_turns: bool) -> None:
        """Whether the server is asked for more only when all of it was taken: a little at a time, and slower."""
        self._in_turns = in_turns
        if self._consumer is not None:
            self._consumer.in_turns = in_turns

    async def batches(self, *, limit: int = 5_000) -> AsyncIterator[ReadBatch]:
        """Everything behind the position, in order and without end.

        Raises:
            as `next`.
        """
        while True:
            yield await self.next(limit)

    async def next(self, limit: int) -> ReadBatch:
        """What comes next, in order; a batch each second at least, if only an empty one.

        No sign of life comes while the server is out of reach; the reader goes on when it is back.

        Raises:
            StreamMissing: the stream did not appear in time.
            StreamWentBack: the stream is shorter than what was read of it.
            Unavailable: the connection was closed for good.
            PermissionError: this service has no right to read this.
        """
        while True:
            consumer = self._consumer
            if consumer is None:
                consumer = await self._begin()
                if consumer.pending == 0 and (not self._whole or self._end <= self._position):
                    # Said at once: the first heartbeat would say it later.
                    return ReadBatch([], self._position, 0)
            try:
                messages = await consumer.receive(limit)
                if self._whole:
                    return await self._whole_batch(messages, consumer)
            except Broken as broken:
                _LOG.info("reading %s again from %d: %s", self._stream, self._position + 1, broken)
                await self._drop()
            except Closed as closed:
                raise Unavailable from closed
            else:
                self._position = consumer.position
                return ReadBatch(messages, self._position, consumer.pending)

    async def _whole_batch(self, messages: list[Message], consumer: Consumer) -> ReadBatch:
        """The messages with those that did not come and are there all the same, and the gaps where there is none.

        Raises:
            Broken: the leader does not tell.
        """
        position = max(self._position, consumer.position)
        if messages and messages[0].sequence <= self._position:
            # The leader has given it out before the consumer did.
            messages = [message for message in messages if message.sequence > self._position]
        gaps: list[Gap] = []
        if position - self._position != len(messages):
            try:
                messages, gaps = await self._complete(messages, position)
            except (RequestFailed, Refused) as failure:
                await asyncio.sleep(_LONGEST_PAUSE)
                raise Broken(f"what is missing could not be asked for: {failure}") from failure
            except BaseException:
                # Whoever goes on reading begins behind the position with another consumer.
                await self._drop()
                raise
        self._position = position
        return ReadBatch(messages, position, consumer.pending, gaps)

    async def _complete(self, messages: list[Message], position: int) -> tuple[list[Message], list[Gap]]:
        complete: list[Message] = []
        gaps: list[Gap] = []
        expected = self._position + 1
        for message in (*messages, None):
            last = position if message is None else message.sequence - 1
            if expected <= last:
                found, lost = await missing(self._jetstream, self._stream, expected, last, headers=self._headers)
                complete += found
                gaps += lost
            if message is not None:
                complete.append(message)
                expected = message.sequence + 1
        return complete, gaps

    async def _begin(self) -> Consumer:
        """A consumer that begins behind the position, as soon as the server makes one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._start()
            except Closed as closed:
                raise Unavailable from closed
            except Denied as denied:
                raise PermissionError(f"no right to read {self._filter or 'all'} of {self._stream}") from denied
            except RequestFailed:
                deadline = loop.time() + self._patience
            except Refused as refused:
                if not refused.may_pass or loop.time() >= deadline:
                    if refused.error.err_code == STREAM_NOT_FOUND:
                        raise StreamMissing(self._stream) from refused
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _start(self) -> Consumer:
        self._end = (await self._jetstream.info(self._stream)).state.last_seq
        if self._end < self._position:
            raise StreamWentBack(self._stream, self._end, self._position)
        consumer = Consumer(
            self._nc,
            self._jetstream,
            self._stream,
            self._filter,
            name=self._name,
            buffer=self._buffer,
            headers=self._headers,
        )
        consumer.in_turns = self._in_turns
        self._consumer = consumer
        try:
            await consumer.start(self._position)
        except BaseException:
            await self._drop()
            raise
        return consumer

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
