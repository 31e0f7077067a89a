"""Fast ordered reader of a stream, for replay and for following: without gaps, with automatic recovery.

The reader's only state is the position up to which it has returned all messages. If its consumer breaks, the next one
starts there, so that no message is missed or returned twice.
"""

import asyncio
import logging
import math
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
from streams.personal_data.reading import PersonalData, readable
from streams.topology import StreamMissing

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
# A deposed leader answers for a moment with the end that its copy has: a replicated stream counts as shorter than what
# was read of it if that is reported for this many seconds.
_CONFIRMED_AFTER = 10.0
# Seconds after which a server that refuses to serve a stream for now ends a reading that does not outlast refusals.
_SERVED_WITHIN = 10.0
# A little less than the second within which an idle reader returns a batch.
_SIGN_OF_LIFE = 0.9


class ReadBatch(msgspec.Struct, frozen=True):
    """Messages returned by one read."""

    # In order; empty if only time has passed, or only the position under a filter has advanced.
    messages: list[Message]
    # All messages up to this stream sequence that match the filter have been returned.
    position: int
    # Remaining messages, as reported by the server; 0: the end was reached.
    pending: int
    # Sequences up to the position that have no event; only of a reader with `report_gaps`.
    gaps: list[Gap] = []


class StreamWentBack(Exception):
    """A stream ends before a position that was already read: events are gone."""

    def __init__(self, stream: str, end: int, position: int) -> None:
        super().__init__(f"stream {stream} ends at {end}, but was read up to {position}: events are gone")


class Reader:
    """Reads one stream from a position on and follows it."""

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
        outlasts_refusals: bool = False,
        report_gaps: bool = False,
        sign_of_life: float = _SIGN_OF_LIFE,
        prompt: bool = True,
        personal_data: PersonalData = PersonalData.PLAIN,
    ) -> None:
        """
        `name`: part of the name of every consumer of this reader, after the connection's name.
        `buffer`: maximum number of messages that wait in memory (at most 16 MiB with the server's default limits).
        `headers`: whether messages include their stored headers; this halves the rate.
        `patience`: seconds to wait for a stream that does not exist yet.
        `outlasts_refusals`: whether to wait without end for a server that refuses for now, such as one without a leader
        or without space; otherwise such a refusal ends the reading after 10 seconds, or after `patience` if shorter.
        `report_gaps`: for a stream of events, without a filter: every sequence without an event is reported.
        `sign_of_life`: seconds without a message after which an empty batch is returned if the server answers.
        `prompt`: whether the position follows promptly where a filter leaves out the stream's last events.
        `personal_data`: what is returned in place of sealed personal data.
        """
        assert not (report_gaps and subject_filter)
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
        # In seconds.
        self._longest_refusal = math.inf if outlasts_refusals else min(patience, _SERVED_WITHIN)
        self._report_gaps = report_gaps
        self._sign_of_life = sign_of_life
        self._prompt = prompt
        self._personal_data = personal_data
        self._in_turns = False
        self._consumer: Consumer | None = None
        # The stream's last sequence when the consumer was created, and whether the stream has replicas.
        self._end = 0
        self._is_replicated = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._drop()

    def take_turns(self, in_turns: bool) -> None:
        """Sets whether messages are requested only after all previous ones were consumed: smaller requests, slower."""
        self._in_turns = in_turns
        if self._consumer is not None:
            self._consumer.in_turns = in_turns

    async def batches(self, *, limit: int = 5_000) -> AsyncIterator[ReadBatch]:
        """Yields all messages after the position, in order and without end.

        Raises:
            as `next`.
        """
        while True:
            yield await self.next(limit)

    async def next(self, limit: int) -> ReadBatch:
        """The next messages, in order; at least one batch per second, possibly empty.

        Does not return while the server is unreachable; reading continues when it is back.

        Raises:
            StreamMissing: the stream did not appear in time.
            StreamWentBack: the stream is shorter than what was read of it.
            Unavailable: the connection was closed permanently, or the server refuses for too long.
            KeysUnavailable: a key of personal data cannot be had now; the next call reads the same messages again.
            PermissionError: this service has no right to read this.
        """
        while True:
            consumer = self._consumer
            if consumer is None:
                consumer = await self._begin()
                if consumer.pending == 0:
                    # Returned immediately instead of with the first heartbeat.
                    return ReadBatch([], self._position, 0)
            try:
                messages = await consumer.receive(limit, patience=self._sign_of_life)
                if self._report_gaps:
                    return await self._whole_batch(messages, consumer)
            except Broken as broken:
                _LOG.info("reading %s again from %d: %s", self._stream, self._position + 1, broken)
                await self._drop()
            except Closed as closed:
                raise Unavailable from closed
            else:
                messages = await self._readable(messages)
                self._position = consumer.position
                return ReadBatch(messages, self._position, consumer.pending)

    async def _whole_batch(self, messages: list[Message], consumer: Consumer) -> ReadBatch:
        """Adds messages that are stored but were not delivered, and reports gaps where none is stored.

        Raises:
            Broken: the leader refused or did not answer.
        """
        position = max(self._position, consumer.position)
        if messages and messages[0].sequence <= self._position:
            # Already returned from the leader before the consumer delivered it.
            messages = [message for message in messages if message.sequence > self._position]
        gaps: list[Gap] = []
        if position - self._position != len(messages):
            try:
                messages, gaps = await self._complete(messages, position)
            except (RequestFailed, Refused) as failure:
                await asyncio.sleep(_LONGEST_PAUSE)
                raise Broken(f"missing events could not be requested: {failure}") from failure
            except BaseException:
                # The next read starts after the position with another consumer.
                await self._drop()
                raise
        messages = await self._readable(messages)
        self._position = position
        return ReadBatch(messages, position, consumer.pending, gaps)

    async def _readable(self, messages: list[Message]) -> list[Message]:
        """
        Raises:
            KeysUnavailable: as `next`.
        """
        try:
            return await readable(self._nc, messages, self._personal_data)
        except BaseException:
            # The next read starts after the position with another consumer.
            await self._drop()
            raise

    async def _complete(self, messages: list[Message], position: int) -> tuple[list[Message], list[Gap]]:
        complete: list[Message] = []
        gaps: list[Gap] = []
        expected = self._position + 1
        for message in (*messages, None):
            last = position if message is None else message.sequence - 1
            if expected <= last:
                recovered, lost = await missing(self._jetstream, self._stream, expected, last, headers=self._headers)
                complete += recovered
                gaps += lost
            if message is not None:
                complete.append(message)
                expected = message.sequence + 1
        return complete, gaps

    async def _begin(self) -> Consumer:
        """Creates a consumer that starts after the position; retries until the server creates it.

        A missing stream or a shortened one ends the reading, and so does a server that refuses for too long, unless the
        reader outlasts that. A lost connection does not: it comes back by itself.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        refused_until = loop.time() + self._longest_refusal
        pause, is_logged = _FIRST_PAUSE, False
        shorter_since: float | None = None
        while True:
            try:
                return await self._start()
            except Closed as closed:
                raise Unavailable from closed
            except Denied as denied:
                raise PermissionError(f"no right to read {self._filter or 'all'} of {self._stream}") from denied
            except RequestFailed:
                deadline = loop.time() + self._patience
                shorter_since = None
                refused_until = loop.time() + self._longest_refusal
            except StreamWentBack:
                shorter_since = loop.time() if shorter_since is None else shorter_since
                if not self._is_replicated or loop.time() - shorter_since >= _CONFIRMED_AFTER:
                    raise
            except Refused as refused:
                if not refused.may_pass:
                    raise
                shorter_since = None
                if refused.error.err_code != STREAM_NOT_FOUND:
                    if loop.time() >= refused_until:
                        raise Unavailable(f"{self._stream} cannot be read: {refused}.") from refused
                    deadline = loop.time() + self._patience
                    if not is_logged:
                        _LOG.warning("%s cannot be read until the server serves it: %s", self._stream, refused)
                        is_logged = True
                elif loop.time() >= deadline:
                    raise StreamMissing(self._stream) from refused
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _start(self) -> Consumer:
        info = await self._jetstream.info(self._stream)
        self._end = info.state.last_seq
        self._is_replicated = info.config.get("num_replicas", 1) > 1
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
            prompt=self._prompt and self._filter is not None and info.config.get("subjects") != [self._filter],
        )
        consumer.in_turns = self._in_turns
        self._consumer = consumer
        try:
            # Of a whole stream a count of 0 before its end says that the last messages are gone: a gap to report.
            exact = self._filter is not None and not self._is_replicated
            await consumer.start(self._position, end=self._end, exact=exact)
        except BaseException:
            await self._drop()
            raise
        return consumer

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
