"""Queries the history of several streams, merged by time, then follows them live."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from nats.aio.client import Client

from contracts import catalogue
from contracts.envelope import Envelope
from contracts.errors import Unavailable
from contracts.subjects import STREAMS, is_public
from contracts.upcasts import upcast
from infra.operator_errors import OperatorError
from streams.jetstream.api import JetStream
from streams.jetstream.requests import RequestFailed
from streams.log import Log
from streams.message import Message
from streams.reader import Reader

# Most difference between an event's own time and its time of storage: it is decided earlier, and clocks differ.
SKEW = timedelta(minutes=1)
_PAGE = 1_000
_WAITING_PAGES = 4
_NULL = msgspec.Raw(b"null")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Fields of the envelope that may be shown differently from how they are stored.
_CHANGED = {"schema", "data"}


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to show."""

    streams: tuple[str, ...]
    type: str | None = None
    aggregate_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    # Only events that have this id, or have it in their data.
    mentions: str | None = None
    follow: bool = False
    # Show events as stored, even if this release has a later schema.
    raw: bool = False

    def subject_filter(self, stream: str) -> str | None:
        # An aggregate's id is the end of its subject.
        return None if self.aggregate_id is None else f"vestnik.{STREAMS[stream]}.*.{self.aggregate_id}"

    def wants(self, envelope: Envelope) -> bool:
        is_wanted = (self.type is None or envelope.type == self.type) and self._is_within(envelope.at)
        return is_wanted and (
            self.mentions is None or envelope.id == self.mentions or self.mentions.encode() in bytes(envelope.data)
        )

    def wants_undecodable(self, message: "Undecodable") -> bool:
        # Its type is unknown.
        return self.type is None and self._is_within(message.at)

    def _is_within(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is shown: the whole envelope and its position in the stream."""

    stream: str
    sequence: int
    subject: str
    id: str
    type: str
    # Schema version of the data as shown.
    schema: int
    aggregate_id: str
    version: int
    at: datetime
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    traceparent: str | None
    # The client's own id of the request; left out if it sent none.
    request_id: str | UnsetType = UNSET
    # `null` for a private event.
    data: msgspec.Raw

    @property
    def is_private(self) -> bool:
        return self.data == _NULL


class Undecodable(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message that cannot be shown as an event, with its position and its bytes."""

    stream: str
    sequence: int
    subject: str
    # By the server's clock.
    stored_at: datetime | None
    # Why it cannot be shown.
    error: str
    size: int
    # The message, Base64 in JSON; None on a subject that only the owner of the stream may read.
    payload: bytes | None

    @property
    def at(self) -> datetime:
        return self.stored_at or _EPOCH


Page = list[EventView | Undecodable]


def is_after(message: Message, until: datetime | None) -> bool:
    """Whether everything after the message in its stream happened later than `until`.

    The event's own time counts, since an import stores all events of a stream at a later time. It counts only up to
    the time of storage, since a clock may be wrong.
    """
    if until is None or (message.stored_at is not None and message.stored_at <= until + SKEW):
        return False
    try:
        return message.envelope().at > until + 2 * SKEW
    except msgspec.DecodeError:
        return False


async def select_events(nc: Client, query: EventQuery) -> AsyncGenerator[Page, None]:
    """Yields the matching events in pages: stored ones merged by time, then, with `follow`, new ones as they arrive.

    Raises:
        OperatorError: none of the streams exists.
    """
    ends = {name: end for name in query.streams if (end := await end_of(nc, name)) is not None}
    if not ends:
        raise OperatorError(f"there is no stream {' or '.join(query.streams)} yet")
    stored = [_stored(nc, query, name, end) for name, end in ends.items()]
    async for page in _merged(stored):
        yield page
    if query.follow:
        async for page in _followed(nc, query, ends):
            yield page


async def end_of(nc: Client, stream: str) -> int | None:
    """Returns the stream's last sequence; None if there is no such stream."""
    try:
        return await JetStream(nc).last_sequence(stream)
    except RequestFailed as failure:
        raise Unavailable from failure


async def stretch_of(nc: Client, query: EventQuery, stream: str, end: int) -> tuple[int, int]:
    """Returns the range of sequences with the events of the query's time: after the first one, up to the second.

    It is found without reading the stream: by the time of storage, then by a binary search over the events' own times,
    since an imported stream has all events stored at one time. The range may include events outside of the time.
    """
    log = Log(nc)
    after = min(end, await log.end_before(stream, query.since - SKEW)) if query.since else 0
    if query.until is None:
        return after, end
    # An event that was stored by then happened by then.
    last = min(end, await log.end_before(stream, query.until + SKEW))
    past, probe = end + 1, last + 1
    jetstream = JetStream(nc)
    while last + 1 < past:
        try:
            message = await jetstream.next(stream, ">", probe - 1)
        except RequestFailed as failure:
            raise Unavailable from failure
        if message is None or message.sequence >= past or is_after(message, query.until):
            past = probe
        else:
            last = message.sequence
        probe = (last + past + 1) // 2
    return after, last


async def _stored(nc: Client, query: EventQuery, stream: str, end: int) -> AsyncGenerator[Page, None]:
    """Yields one stream's events up to its end, in pages."""
    after, last = await stretch_of(nc, query, stream, end)
    if after >= last:
        return
    async with _reader(nc, query, stream, after) as reader:
        async for batch in reader.batches(limit=_PAGE):
            yield list(_shown(query, [message for message in batch.messages if message.sequence <= last]))
            if batch.position >= last:
                return


async def _merged(sources: list[AsyncGenerator[Page, None]]) -> AsyncGenerator[Page, None]:
    """Merges pages by time; the order within one source is kept."""
    heads: list[tuple[deque[EventView | Undecodable], AsyncGenerator[Page, None]]] = [
        (deque(), source) for source in sources
    ]
    while True:
        for waiting, source in heads:
            while not waiting and (page := await anext(source, None)) is not None:
                waiting.extend(page)
        live = [waiting for waiting, _ in heads if waiting]
        if not live:
            return
        merged: Page = []
        while all(live):
            merged.append(min(live, key=lambda waiting: waiting[0].at).popleft())
        yield merged


async def _followed(nc: Client, query: EventQuery, ends: dict[str, int]) -> AsyncGenerator[Page, None]:
    """Yields the events after the ends, in pages of one stream each, as they arrive."""
    pages: asyncio.Queue[Page] = asyncio.Queue(_WAITING_PAGES)

    async def follow(stream: str, after: int) -> None:
        async with _reader(nc, query, stream, after) as reader:
            async for batch in reader.batches(limit=_PAGE):
                if page := list(_shown(query, batch.messages)):
                    await pages.put(page)

    followers = [asyncio.create_task(follow(stream, end), name=f"follow {stream}") for stream, end in ends.items()]
    try:
        while True:
            page = asyncio.create_task(pages.get())
            done, _ = await asyncio.wait([page, *followers], return_when=asyncio.FIRST_COMPLETED)
            if page not in done:
                page.cancel()
                done.pop().result()  # a follower ends only by an error
            yield page.result()
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


def _reader(nc: Client, query: EventQuery, stream: str, after: int) -> Reader:
    return Reader(nc, stream, after=after, subject_filter=query.subject_filter(stream), name="events", buffer=2_000)


def _shown(query: EventQuery, messages: list[Message]) -> Iterator[EventView | Undecodable]:
    for message in messages:
        try:
            envelope = message.envelope()
            if query.wants(envelope):
                yield to_view(message, envelope, raw=query.raw)
        except (msgspec.DecodeError, OperatorError) as error:
            undecodable = _undecodable(message, str(error))
            if query.wants_undecodable(undecodable):
                yield undecodable


def _undecodable(message: Message, error: str) -> Undecodable:
    return Undecodable(
        stream=message.stream,
        sequence=message.sequence,
        subject=message.subject,
        stored_at=message.stored_at,
        error=error,
        size=len(message.payload),
        payload=message.payload if is_public(message.subject) else None,
    )


def to_view(message: Message, envelope: Envelope, *, raw: bool) -> EventView:
    """Returns the event as it is shown; `raw`: as stored, without upcasts.

    Raises:
        msgspec.DecodeError: its data is not JSON.
        OperatorError: it cannot be upcast to the current schema.
    """
    schema, data = _data(message, envelope, raw=raw)
    return EventView(
        stream=message.stream,
        sequence=message.sequence,
        subject=message.subject,
        schema=schema,
        data=data,
        **{name: getattr(envelope, name) for name in Envelope.__struct_fields__ if name not in _CHANGED},
    )


def _data(message: Message, envelope: Envelope, *, raw: bool) -> tuple[int, msgspec.Raw]:
    """Returns the schema and the data of an event as they are shown."""
    event = catalogue.EVENTS.get(envelope.type)
    if event is None or event.PRIVATE:
        # The data of unknown events is hidden too.
        return envelope.schema, _NULL
    stored = _json(envelope.data)
    if raw or envelope.schema >= event.SCHEMA:
        return envelope.schema, envelope.data
    try:
        data = upcast(event.TYPE, envelope.schema, stored, event.SCHEMA)
    except Exception as error:  # whatever an upcast raises is reported with the event
        position = f"{message.stream} {message.sequence} ({envelope.type}, schema {envelope.schema})"
        raise OperatorError(
            f"{position} cannot be upcast to schema {event.SCHEMA}; --raw shows it as stored"
        ) from error
    return event.SCHEMA, msgspec.Raw(msgspec.json.encode(data))


def _json(data: msgspec.Raw) -> Any:  # noqa: ANN401 - whatever JSON may hold
    """Decodes the data, which decoding the envelope does not check.

    Raises:
        msgspec.DecodeError: it is not JSON.
    """
    try:
        return msgspec.json.decode(data)
    except catalogue.UNDECODABLE as error:
        raise msgspec.DecodeError(f"JSON is malformed: {error}") from error
