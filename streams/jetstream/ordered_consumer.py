"""One ordered pull consumer on a stream, used until the first error.

Two pull requests overlap, so that the server always has one to serve. All messages arrive on one subscription. A gap
in the consumer's own sequence (under a filter the stream's has gaps by nature), a missing heartbeat, a lost connection
or a message from the server that the consumer is gone breaks it, and its reader creates another.
"""

import asyncio
from collections import deque
from uuid import uuid4

import msgspec
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from streams.jetstream.api import JetStream
from streams.jetstream.client import subscribe_direct
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Closed
from streams.message import Message

_SECOND = 1_000_000_000
_EXPIRES = 30 * _SECOND
_HEARTBEAT = _SECOND * 3 // 4
# Under a filter only the heartbeat reports how far the server has scanned without a match, so it is more frequent.
_HEARTBEAT_UNDER_FILTER = _SECOND // 5
# Seconds without a message or a heartbeat after which the consumer counts as lost.
_SILENCE = 3.0
# After this time without a pull request the server deletes the consumer.
_INACTIVE = 30 * _SECOND
# Messages per request where server and client take turns: the server sends them within a millisecond or two.
_IN_TURNS = 500
# Maximum of bytes per pull request; two requests bound what waits in memory.
_BYTES = 8 * 1024 * 1024
# Seconds between checks of the connection while waiting.
_CHECK_SECONDS = 0.5
_DELIVERED = "$JS.ACK."
_SHORT_REPLY = 9
_HEARTBEAT_STATUS = "100"
_EXPIRED = "408"
# Normal ends of a pull request; any other end means the end of the consumer.
_ENDED = {"Batch Completed", "Message Size Exceeds MaxBytes"}


class Broken(Exception):
    """The consumer is lost, or no longer reliable."""


class _Created(msgspec.Struct, frozen=True):
    name: str
    num_pending: int = 0


_CREATED = msgspec.json.Decoder(_Created)


class Consumer:
    def __init__(
        self,
        nc: Client,
        jetstream: JetStream,
        stream: str,
        subject_filter: str | None,
        *,
        name: str,
        buffer: int,
        headers: bool = False,
        prompt: bool = False,
    ) -> None:
        """`prompt`: whether a position that has moved without a message is reported within 0.2 s."""
        self._nc = nc
        self._jetstream = jetstream
        self._stream = stream
        self._filter = subject_filter
        self._heartbeat = _HEARTBEAT_UNDER_FILTER if prompt else _HEARTBEAT
        # Unguessable: only a client that has a consumer's name can pull from it.
        self._name = f"{name}-{uuid4().hex}"
        self._headers = headers
        self._buffer = max(2, buffer)
        self.in_turns = False
        self._inbox = nc.new_inbox()
        self._reconnects = nc.stats["reconnects"]
        self._arrived: deque[Delivered] = deque()
        self._wake = asyncio.Event()
        # Loop time of the last heartbeat that reported nothing new.
        self._last_status_at = float("-inf")
        self._subscription: Subscription | None = None
        # Messages requested and not yet received.
        self._requested = 0
        # The consumer's own sequence.
        self._sequence = 0
        # How many more messages the server has for this consumer, as last reported.
        self._reported_pending = 0
        # The stream's end when the consumer was created, and from which position on a reported 0 counts.
        self._end = self._reliable_from = 0
        # All messages up to this stream sequence that match the filter were received.
        self.position = 0

    @property
    def pending(self) -> int:
        """Messages left at the server, as last reported; 0 once all that were stored at the start have come."""
        return self._reported_pending or int(self.position < self._reliable_from)

    async def start(self, after: int, *, end: int, exact: bool) -> None:
        """Creates the consumer, starting after a sequence of the stream.

        `end`: the last sequence of the stream.
        `exact`: whether the server counts what is pending by all that is stored. One with a copy of the stream may not
        have the latest messages yet.

        Raises:
            Refused, RequestFailed: the server did not create the consumer.
        """
        self._subscription = await subscribe_direct(self._nc, self._inbox, self._take, headers=self._headers)
        config: dict[str, object] = {
            "name": self._name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _INACTIVE,
            "max_waiting": 8,
        }
        call = f"CONSUMER.CREATE.{self._stream}.{self._name}"
        if self._filter is not None:
            config["filter_subject"] = self._filter
            call += f".{self._filter}"
        self.position = after
        self._end, self._reliable_from = end, 0 if exact else end
        request = {"stream_name": self._stream, "action": "create", "config": config}
        self._reported_pending = (await self._jetstream.ask(call, request, _CREATED)).num_pending

    async def stop(self) -> None:
        if self._subscription is not None and not self._nc.is_closed and not self._nc.is_draining:
            await self._subscription.unsubscribe()
            # Best effort: otherwise the server deletes it when it is inactive for long enough.
            if self._nc.is_connected:
                await self._nc.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}", b"")
        # The library's subscription is freed by the garbage collector alone, and refers to this object.
        self._arrived.clear()

    async def receive(self, limit: int, *, patience: float) -> list[Message]:
        """The next messages, up to `limit`; an empty list is a sign of life from the server, or a new position.

        `patience`: seconds without a message after which it returns, if the server has given a sign of life meanwhile.

        Raises:
            Broken: start another consumer after the last message received.
        """
        await self._pull()
        if not self._arrived:
            await self._wait(patience)
        if self._reconnects != self._nc.stats["reconnects"]:
            raise Broken("the connection was lost")
        # No await from here on: a cancelled caller has received either all of it or nothing.
        messages: list[Message] = []
        while self._arrived and len(messages) < limit:
            message = self._arrived.popleft()
            try:
                if message.reply.startswith(_DELIVERED):
                    messages.append(self._open(message))
                else:
                    self._on_status(message)
            except (KeyError, IndexError, ValueError) as error:
                raise Broken(f"a message cannot be read: {error!r}") from error
        return messages

    def _open(self, message: Delivered) -> Message:
        # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream seq>.<own seq>.<time>.<pending>[.<token>]
        parts = message.reply.split(".")
        offset = 0 if len(parts) == _SHORT_REPLY else 2
        sequence = int(parts[5 + offset])
        self._sequence += 1
        if int(parts[6 + offset]) != self._sequence:
            raise Broken(f"a gap before {parts[6 + offset]}")
        self._reported_pending = int(parts[8 + offset])
        self.position = sequence
        stored_ns = int(parts[7 + offset])
        return Message(self._stream, sequence, message.subject, message.data, stored_ns, message.headers)

    def _on_status(self, message: Delivered) -> None:
        """Handles a status message of the server."""
        headers = message.headers or {}
        status, description = message.status, headers.get("Description", "")
        if status == _HEARTBEAT_STATUS:
            if int(headers["Nats-Last-Consumer"]) != self._sequence:
                raise Broken("messages before a heartbeat are missing")
            # How far the server has scanned; under a filter this is the only report of it.
            self.position = max(self.position, int(headers["Nats-Last-Stream"]))
            # A busy server also sends one before it has looked at what is stored.
            if self.position >= self._end:
                self._reported_pending = 0
        elif status == _EXPIRED or description in _ENDED:
            self._requested -= int(headers["Nats-Pending-Messages"])
        else:
            raise Broken(f"{status} {description}")

    async def _pull(self) -> None:
        """Requests more messages: once when idle, twice with a backlog, never more than the buffer holds."""
        size = min(_IN_TURNS, self._buffer) if self.in_turns else self._buffer // 2
        while self._may_pull(size):
            request = {
                "batch": size,
                "max_bytes": max(_BYTES, 2 * self._nc.max_payload),
                "expires": _EXPIRES,
                "idle_heartbeat": self._heartbeat,
            }
            call = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
            await self._nc.publish(call, msgspec.json.encode(request), reply=self._inbox)
            self._requested += size

    def _may_pull(self, size: int) -> bool:
        coming = self._requested + len(self._arrived)
        if self.in_turns:
            return coming <= 0
        if coming + size > self._buffer:
            return False
        return self._requested <= 0 or self.pending > coming

    async def _wait(self, patience: float) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        due = begun + patience
        while not self._arrived:
            if self._nc.is_closed:
                raise Closed
            now = loop.time()
            if now >= max(begun, self._last_status_at) + _SILENCE:
                raise Broken("no heartbeat came")
            if now >= due and self._last_status_at >= begun:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(due - now if now < due else _CHECK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _take(self, message: Delivered) -> None:
        if message.reply.startswith(_DELIVERED):
            self._requested -= 1
        elif self._is_nothing_new(message):
            # Most heartbeats: several a second, of every consumer of a process. None of them wakes the reader.
            self._last_status_at = asyncio.get_running_loop().time()
            return
        self._arrived.append(message)
        self._wake.set()

    def _is_nothing_new(self, message: Delivered) -> bool:
        """Whether this is a heartbeat that reports what is known already."""
        if message.status != _HEARTBEAT_STATUS or self._arrived or self.pending:
            return False
        headers = message.headers or {}
        try:
            last_sent, last_stored = int(headers["Nats-Last-Consumer"]), int(headers["Nats-Last-Stream"])
        except (KeyError, ValueError):
            # The reader finds it unreadable.
            return False
        return last_sent == self._sequence and last_stored <= self.position
