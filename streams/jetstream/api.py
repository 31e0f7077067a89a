"""The few requests of the JetStream API that an event store needs, in its own JSON.

Reads that a decision depends on go to the stream's leader: a direct get may be served by a replica that lags behind an
acknowledgement. Direct gets are for bulk reads, and their results are checked.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from nats.aio.client import Client

from streams.jetstream.direct_get import get_directly
from streams.jetstream.raw_message import Delivered, read_headers
from streams.jetstream.requests import Inbox, NoAnswer, RequestFailed
from streams.message import Message, nanoseconds_of

NO_MESSAGE_FOUND = 10037
STREAM_NOT_FOUND = 10059
STREAM_IN_USE = 10058
# The cluster, or the stream's group in it, has no leader at the moment: equivalent to no answer.
NO_LEADER = {10007, 10008, 10009}
TOO_MANY_CONSUMERS = 10026
# The limits of the account, the server's memory or disk, or the limits of the stream are exhausted.
_NO_SPACE = {10002, 10023, 10028, 10047, 10077}
_SERVER_FAULT = 500
_BATCH = 256
# Seconds: the limit of one attempt, and the pause before the next.
_ATTEMPT = 2.0
_PAUSE = 0.05

A = TypeVar("A")


class ApiError(msgspec.Struct, frozen=True):
    """The error in a server's response."""

    code: int
    err_code: int = 0
    description: str = ""


class Refused(Exception):
    """The server refused a request."""

    def __init__(self, error: ApiError) -> None:
        self.error = error
        super().__init__(f"{error.description} ({error.err_code})")

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later: a server fault, no space, too many consumers, no stream yet."""
        passing = (STREAM_NOT_FOUND, TOO_MANY_CONSUMERS)
        return self.error.code >= _SERVER_FAULT or self.lacks_space or self.error.err_code in passing

    @property
    def lacks_space(self) -> bool:
        return self.error.err_code in _NO_SPACE


class Link(NamedTuple):
    """A message, and the sequence of the previous one on its subject."""

    message: Message
    # The sequence on whose condition it was appended, 0 for the first; None: the message does not contain it.
    previous: int | None


class StreamState(msgspec.Struct, frozen=True):
    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    # Sequences between the two without a message; None if not requested, or if there are none.
    deleted: list[int] | None = None


class StreamInfo(msgspec.Struct, frozen=True):
    config: dict[str, Any]
    state: StreamState = StreamState()
    # RFC 3339 in UTC, to the nanosecond.
    created: str = "1970-01-01T00:00:00Z"

    @property
    def created_at(self) -> datetime:
        """The time at which the stream was created, to the microsecond."""
        return datetime.fromtimestamp(nanoseconds_of(self.created) // 1000 / 1_000_000, UTC)


class _Stored(msgspec.Struct, frozen=True):
    subject: str
    seq: int
    # RFC 3339 in UTC, to the nanosecond.
    time: str
    # Base64 in JSON.
    data: bytes = b""
    hdrs: bytes = b""


class _Got(msgspec.Struct, frozen=True):
    message: _Stored


class _Limits(msgspec.Struct, frozen=True):
    # -1: none.
    max_storage: int = -1


class _Account(msgspec.Struct, frozen=True):
    storage: int = 0
    limits: _Limits = _Limits()


class _Problem(msgspec.Struct, frozen=True):
    error: ApiError | None = None


_PROBLEM = msgspec.json.Decoder(_Problem)
_GOT = msgspec.json.Decoder(_Got)
_INFO = msgspec.json.Decoder(StreamInfo)
_ACCOUNT = msgspec.json.Decoder(_Account)


class JetStream:
    """Client of the JetStream API. API requests are retried for `patience` seconds: all are reads or idempotent."""

    def __init__(self, nc: Client, *, patience: float = 10.0) -> None:
        self.inbox = Inbox.of(nc)
        self._patience = patience

    async def ask(self, call: str, request: object, decoder: msgspec.json.Decoder[A]) -> A:
        """Sends an API request; while the cluster has no leader, retries for up to `patience` seconds.

        Raises:
            Refused: the server answered with an error.
            RequestFailed: it did not answer, or with something that cannot be read.
        """
        payload = msgspec.json.encode(request) if request is not None else b""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            answer = await self._patiently(f"$JS.API.{call}", payload, deadline)
            try:
                error = _PROBLEM.decode(answer.data).error
                if error is None:
                    return decoder.decode(answer.data)
            except (msgspec.DecodeError, UnicodeDecodeError) as unreadable:
                raise NoAnswer from unreadable
            if error.err_code not in NO_LEADER or loop.time() + _PAUSE >= deadline:
                raise Refused(error)
            await asyncio.sleep(_PAUSE)

    async def is_full(self) -> bool:
        """Whether the limit of the account of the streams is reached, so that nothing more is stored.

        The limits of a server itself cannot be requested.

        Raises:
            Refused, RequestFailed: the server refused, or did not answer.
        """
        account = await self.ask("INFO", None, _ACCOUNT)
        # A store that was closed for lack of space has a limit of one byte, which an empty one does not reach either. A
        # limit of zero is no limit: accounts with limits by tier report it.
        return 0 < account.limits.max_storage <= max(account.storage, 1)

    async def info(self, stream: str, *, deleted: bool = False) -> StreamInfo:
        """The stream's settings and state, from its leader; the deleted sequences only with `deleted`."""
        return await self.ask(f"STREAM.INFO.{stream}", {"deleted_details": True} if deleted else None, _INFO)

    async def last_sequence(self, stream: str) -> int | None:
        """The stream's last sequence, from its leader; None if there is no such stream."""
        try:
            return (await self.info(stream)).state.last_seq
        except Refused as refused:
            if refused.error.err_code == STREAM_NOT_FOUND:
                return None
            raise

    async def at(self, stream: str, sequence: int) -> Message | None:
        """The message at a sequence, with its headers, from the stream's leader."""
        return await self._get(stream, {"seq": sequence}, headers=True)

    async def last(self, stream: str, subject: str) -> Message | None:
        """The last message of the subject, from the stream's leader."""
        return await self._get(stream, {"last_by_subj": subject})

    async def last_link(self, stream: str, subject: str) -> Link | None:
        """The last message of the subject as a link, from the stream's leader."""
        return _linked(await self._get(stream, {"last_by_subj": subject}, headers=True))

    async def link_of_leader(self, stream: str, sequence: int) -> Link | None:
        """The message at a sequence as a link, from the stream's leader."""
        return _linked(await self.at(stream, sequence))

    async def link_at(self, stream: str, sequence: int) -> Link | None:
        """The message at a sequence as a link, from any replica; None if that replica does not have it.

        Raises:
            RequestFailed: no replica answered.
        """
        answer, *_ = await get_directly(
            self.inbox, stream, b'{"seq":%d}' % sequence, timeout=min(self._patience, _ATTEMPT)
        )
        headers = answer.headers or {}
        if answer.status is not None or headers.get("Nats-Sequence") != str(sequence):
            return None
        return Link(_got_directly(stream, answer), _previous(headers))

    async def next(self, stream: str, subject: str, after: int, *, headers: bool = False) -> Message | None:
        """The first message of the subject after a sequence, from the stream's leader."""
        return await self._get(stream, {"seq": after + 1, "next_by_subj": subject}, headers=headers)

    async def first_since(self, stream: str, moment: datetime) -> Message | None:
        """The first message of the stream stored at a moment or later."""
        return await self._get(stream, {"start_time": moment.isoformat(), "next_by_subj": ">"})

    async def _get(self, stream: str, request: dict[str, object], *, headers: bool = False) -> Message | None:
        try:
            stored = (await self.ask(f"STREAM.MSG.GET.{stream}", request, _GOT)).message
        except Refused as refused:
            if refused.error.err_code == NO_MESSAGE_FOUND:
                return None
            raise
        fields = read_headers(stored.hdrs) if headers and stored.hdrs else None
        return Message(stream, stored.seq, stored.subject, stored.data, nanoseconds_of(stored.time), fields)

    async def many(
        self, stream: str, subject: str, after: int, *, limit: int | None = None
    ) -> tuple[list[Message], bool]:
        """Up to 256 messages (or `limit`, if less) of the subject after a sequence, and whether there may be more.

        From any replica, which may lack messages that are stored.
        """
        request = msgspec.json.encode(
            {"seq": after + 1, "next_by_subj": subject, "batch": min(limit or _BATCH, _BATCH)}
        )
        answers = await get_directly(
            self.inbox, stream, request, timeout=min(self._patience, _ATTEMPT), last=_ends_batch
        )
        messages: list[Message] = []
        previous = 0
        for answer in answers[:-1]:
            message = _got_directly(stream, answer)
            if messages and (answer.headers or {}).get("Nats-Last-Sequence") != str(previous):
                # A message was lost in transit; those before it are valid.
                return messages, True
            previous = message.sequence
            messages.append(message)
        pending = (answers[-1].headers or {}).get("Nats-Num-Pending", "0")
        return messages, int(pending) > 0

    async def _patiently(self, subject: str, payload: bytes, deadline: float) -> Delivered:
        loop = asyncio.get_running_loop()
        while True:
            left = deadline - loop.time()
            try:
                return await self.inbox.request(subject, payload, timeout=max(min(left, _ATTEMPT), 0.001))
            except RequestFailed as failure:
                if failure.final or loop.time() + _PAUSE >= deadline:
                    raise
            await asyncio.sleep(_PAUSE)


def _got_directly(stream: str, answer: Delivered) -> Message:
    """
    Raises:
        NoAnswer: the answer is no message.
    """
    headers = answer.headers or {}
    try:
        sequence, stored = int(headers["Nats-Sequence"]), nanoseconds_of(headers["Nats-Time-Stamp"])
        return Message(stream, sequence, headers["Nats-Subject"], answer.data, stored)
    except (KeyError, ValueError) as error:
        raise NoAnswer from error


def _linked(message: Message | None) -> Link | None:
    if message is None:
        return None
    return Link(msgspec.structs.replace(message, headers=None), _previous(message.headers or {}))


def _previous(headers: dict[str, str]) -> int | None:
    # The server checked this condition on the subject before it stored the message.
    expected = headers.get("Nats-Expected-Last-Subject-Sequence", "")
    return int(expected) if expected.isascii() and expected.isdigit() else None


def _ends_batch(message: Delivered) -> bool:
    # 204 after the last message, 404 if there is none.
    return message.status is not None
