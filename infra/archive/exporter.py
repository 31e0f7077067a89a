"""Export: writes every stream up to an end that is fixed at the start, while the system keeps running.

The ends are fixed in the order effects first, causes last. A profile, a session, a friendship or a message needs its
user, a message needs the friendship, a discard needs the event that it leaves out, and a signed head needs the events
that it covers. So the export contains the cause of every event in it. Effects that are still missing (the profile of a
user who has just registered) are made by the reactions after the import.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import IO, NamedTuple

import msgspec
from nats.aio.client import Client

from contracts.envelope import now
from contracts.errors import Unavailable
from contracts.subjects import AUTH, CONTACT, MESSAGING, NOTARY, OPERATOR, PROFILE, SESSION, STREAMS
from contracts.values.ids import new_id
from infra.archive.format.archive_writer import Writer
from infra.archive.format.layout import FULL, MOST_EVENTS, End, Header, StreamInFile
from infra.archive.format.unreadable_events import Accepted, CannotBeImported, UnreadableEvent
from infra.archive.key_fingerprint import CLAIMS, fingerprint, fingerprints
from infra.operator_errors import OperatorError
from infra.runtime.import_marker import ImportUnderWay, get_import_marker
from infra.security.secrets import Secrets
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.loss import missing_events, placeholders
from streams.loss.missing_events import Gap, accepted, unaccepted
from streams.reader import ReadBatch, Reader
from streams.restore import ArchivedMessage, kept_headers, last_of_batch

# Effects before causes.
ORDER = (NOTARY, OPERATOR, MESSAGING, CONTACT, PROFILE, SESSION, AUTH)
# Seconds of silence from the server after which an export fails.
_SILENCE = 60.0
# Seconds to wait for the rest of a batch that is being stored when the end is fixed.
_BATCH_WAIT = 10.0
_CHECK_SECONDS = 0.01

# Returns a predicate on stream and sequence: whether operators have discarded the event.
Discarded = Callable[[], Awaitable[Accepted]]

# Called with the number of events done and the total.
Progress = Callable[[int, int], None]


class StreamNotWhole(OperatorError):
    """A stream lacks an event, so it could not be restored as it was."""

    def __init__(self, stream: str, sequence: int) -> None:
        super().__init__(
            f"{stream} has no event {sequence:,}, so it cannot be exported completely: see "
            "docs/runbooks/lost-events.md; if the event is lost for good, accept the loss with `vestnik rebuild "
            f"--all --accept-loss {stream}:{sequence} --reason TEXT`"
        )


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was exported."""

    file: str
    id: str
    created_at: str
    streams: list[StreamInFile]
    events: int
    # Size of the file.
    bytes: int
    # Size of the events in it, before compression.
    unpacked_bytes: int
    digest: str
    seconds: float
    events_per_second: float
    # Events that this release cannot read; an import stores them unchanged.
    unreadable: int
    # The first hundred of them.
    unreadable_events: list[UnreadableEvent]


class _Page(NamedTuple):
    """The events of one block."""

    stream: int
    first: int
    events: list[ArchivedMessage]


async def fixed_ends(nc: Client) -> dict[str, int]:
    """Fixes the last sequence of each stream for an export that starts now; returns them in the order of fixing.

    Raises:
        OperatorError: there is no such stream, or an import is under way.
    """
    jetstream = JetStream(nc)
    if await get_import_marker(jetstream) is not None:
        raise ImportUnderWay
    assert set(ORDER) == set(STREAMS)
    return {stream: await _end(jetstream, stream) for stream in ORDER}


async def export(
    nc: Client,
    secrets: Secrets,
    file: IO[bytes],
    name: str,
    progress: Progress,
    *,
    allow_unreadable: bool = False,
    discarded: Discarded | None = None,
) -> Exported:
    """Writes all streams to the file.

    Events that this release cannot read are allowed if all of them were discarded, or with `allow_unreadable`.

    Raises:
        CannotBeImported: other events cannot be read; the file lacks its end block.
        OperatorError: a stream is missing or not whole, or the server stopped answering.
        OSError: the file cannot be written.
    """
    begun = time.monotonic()
    ends = await fixed_ends(nc)
    header = Header(
        product="vestnik",
        version=version("vestnik"),
        id=new_id(),
        created_at=now(),
        streams=[StreamInFile(stream, end, end) for stream, end in ends.items()],
        compression="zlib",
        # No import without this one, so it is required here, too.
        fingerprints={CLAIMS: fingerprint(secrets.claims_key)} | fingerprints(secrets),
    )
    writer = Writer(file, header)
    writing = _Writing(writer, header.events, progress)
    try:
        for index, (stream, end) in enumerate(ends.items()):
            if end:
                await _stream(nc, writing, index, stream, end)
    finally:
        await writing.settled()
    if writer.unreadable.count and not allow_unreadable:
        left = writer.unreadable.without(await discarded()) if discarded else writer.unreadable
        if left.count:
            raise CannotBeImported(left)
    written = await asyncio.to_thread(writer.end, writer.unreadable.runs)
    return _outcome(header, written, writer, name, time.monotonic() - begun)


class _Writing:
    """Compresses and writes one block in a thread while the next one is read."""

    def __init__(self, writer: Writer, total: int, progress: Progress) -> None:
        self._writer = writer
        self._total = total
        self._progress = progress
        self._events = 0
        self._under_way: asyncio.Task[None] | None = None

    async def write(self, page: _Page) -> None:
        await self._finish()
        self._under_way = asyncio.create_task(asyncio.to_thread(self._writer.events, *page))
        self._events += len(page.events)
        self._progress(self._events, self._total)

    async def flush(self) -> None:
        await self._finish()

    async def settled(self) -> None:
        """Waits for the write under way, whatever its outcome."""
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
            if not self._under_way.cancelled():
                self._under_way.exception()

    async def _finish(self) -> None:
        if self._under_way is not None:
            await asyncio.shield(self._under_way)
            self._under_way = None


async def _stream(nc: Client, writing: _Writing, index: int, stream: str, end: int) -> None:
    page, size, expected = _Page(index, 1, []), 0, 1
    decided = accepted((await JetStream(nc).info(stream)).config)
    reader = Reader(nc, stream, name="export", headers=True, buffer=2 * MOST_EVENTS, report_gaps=True)
    async with reader:
        batches = aiter(reader.batches(limit=MOST_EVENTS))
        while expected <= end:
            batch = await _within_patience(anext(batches))
            for event in _kept(stream, batch, end, decided):
                if expected > end:
                    break
                expected += 1
                page.events.append(event)
                size += len(event.payload)
                if len(page.events) == MOST_EVENTS or size >= FULL:
                    await writing.write(page)
                    page, size = _Page(index, expected, []), 0
    if page.events:
        await writing.write(page)
    await writing.flush()


def _kept(stream: str, batch: ReadBatch, end: int, decided: list[missing_events.Accepted]) -> list[ArchivedMessage]:
    """Returns one message per sequence up to the end: a placeholder for each event whose loss was accepted.

    Raises:
        StreamNotWhole: another event is missing.
    """
    gaps = [Gap(stream, gap.first, min(gap.last, end)) for gap in batch.gaps if gap.first <= end]
    if left := unaccepted(gaps, {stream: decided}):
        raise StreamNotWhole(stream, left[0].first)
    kept = {
        message.sequence: ArchivedMessage(message.subject, message.payload, kept_headers(message.headers))
        for message in batch.messages
    }
    for gap in gaps:
        kept |= {sequence: placeholders.kept(gap, 1) for sequence in range(gap.first, gap.last + 1)}
    return [kept[sequence] for sequence in sorted(kept)]


async def _within_patience(batch: Awaitable[ReadBatch]) -> ReadBatch:
    """Returns the next batch. While the server is up, at least an empty one arrives every second."""
    try:
        async with asyncio.timeout(_SILENCE):
            return await batch
    except TimeoutError:
        raise OperatorError(f"no message from NATS for {_SILENCE:.0f} s") from None


async def _end(jetstream: JetStream, stream: str) -> int:
    """Returns the stream's last sequence, after waiting for the rest of a batch that is being stored."""
    try:
        info = await jetstream.info(stream)
        end = info.state.last_seq
        if end and not unaccepted([Gap(stream, end, end)], {stream: accepted(info.config)}):
            return end
        deadline = time.monotonic() + _BATCH_WAIT
        while end:
            last = await jetstream.at(stream, end)
            if last is not None and last_of_batch(last.headers):
                return end
            if time.monotonic() > deadline:
                raise StreamNotWhole(stream, end if last is None else end + 1)
            if last is not None and await jetstream.at(stream, end + 1) is not None:
                end += 1
            else:
                await asyncio.sleep(_CHECK_SECONDS)
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            if stream in (OPERATOR, NOTARY):
                # The data directory is older than this stream.
                return 0
            raise OperatorError(f"there is no stream {stream}: nothing to export") from refused
        raise
    except RequestFailed as failure:
        raise Unavailable from failure
    return end


def _outcome(header: Header, end: End, writer: Writer, name: str, seconds: float) -> Exported:
    return Exported(
        file=name,
        id=header.id,
        created_at=header.created_at.isoformat(),
        streams=header.streams,
        events=end.events,
        bytes=writer.bytes,
        unpacked_bytes=end.bytes,
        digest=end.digest,
        seconds=round(seconds, 3),
        events_per_second=round(end.events / seconds, 1) if seconds else 0.0,
        unreadable=writer.unreadable.count,
        unreadable_events=writer.unreadable.named,
    )
