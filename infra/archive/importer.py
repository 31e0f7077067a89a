"""Import: stores every event at its original sequence in an empty system, with the logins of the streams' owners.

First the whole file is checked, then the streams are checked to be empty, then a marker is set that keeps every
service stopped until the last event is stored. Each event is stored on condition of its sequence. This detects a
writer that ignores the marker. An import that was interrupted continues after the events that it has stored.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from uuid import uuid4

import msgspec
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.events.notary import EndReason
from contracts.services import OPERATOR
from contracts.subjects import STREAMS
from infra.archive import key_fingerprint, quiesce
from infra.archive.format.layout import End, Header, StreamInFile
from infra.archive.format.unreadable_events import Unreadable, note
from infra.archive.stream_access import Store
from infra.archive.stream_writer import Filling
from infra.archive.validation import require_valid
from infra.operator_errors import OperatorError
from infra.runtime.connections import connect_nats
from infra.runtime.import_marker import get_import_marker, set_import_marker
from infra.security.secrets import TOPOLOGY
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Log
from streams.loss.replaced_history import record_replaced
from streams.restore import IdTaken, SequenceMismatch
from streams.topology import Placement, ensure_quorum, ensure_streams

# Most bytes that the server adds to an event for its place.
_PLACE_BYTES = 512
_PATIENCE = 5.0


class NotEmpty(OperatorError):
    """The streams of the system have events already."""

    def __init__(self, ends: dict[str, int]) -> None:
        streams = ", ".join(f"{stream} ({end:,} events)" for stream, end in ends.items() if end)
        super().__init__(f"the system is not empty: {streams}. An import needs an empty one; nothing was changed")


class Interfered(OperatorError):
    """Another writer appended to a stream while it was being filled."""

    def __init__(self, stream: str, sequence: int) -> None:
        super().__init__(
            f"event {sequence:,} of {stream} differs from the file's: another program appended during the import. "
            "Stop that program, start with an empty system, and import again"
        )


class Steps(msgspec.Struct, frozen=True):
    """Callbacks for the progress of an import."""

    # Bytes checked, and the total.
    checking: Callable[[int, int], None]
    # Events stored, and the total.
    appending: Callable[[int, int], None]
    # Other messages for the operator.
    say: Callable[[str], None]


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was imported."""

    file: str
    id: str
    streams: list[StreamInFile]
    events: int
    # Events that an interrupted import had stored before.
    found: int
    # Remarks on keys, services and unreadable events.
    notes: list[str]
    # Duration of the appending.
    seconds: float
    events_per_second: float


async def import_file(
    path: Path,
    target: AbstractAsyncContextManager[Store],
    steps: Steps,
    *,
    claims_key: bytes | None = None,
    passwords_lost: bool = False,
    allow_unreadable: bool = False,
) -> Imported:
    """Stores the file's events in the streams; after an interruption, the same call resumes.

    `target`: the system; entered once the file is known to be good. `claims_key`: from a backup of the keys; without it
    the folder of secrets needs the right one. `passwords_lost`: the key that the passwords were hashed with may be
    missing or another one. `allow_unreadable`: events that this release cannot read are stored
    unchanged, even if the file does not accept them.

    Raises:
        ClaimsKeyMissing: the export's key of claims is not there; nothing was changed.
        PasswordsLost: that key is missing or another one, and `passwords_lost` is not set; nothing was changed.
        OperatorError: the file is damaged, the system is not empty, or services are at work; nothing was changed.
        Interfered: another writer appended; the marker stays.
        Unavailable, Overloaded, DeadlineExceeded: the server is away or full; the same import resumes later.
    """
    header, end, unreadable = await _checked(path, steps.checking, allow_unreadable)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(target)
        secrets_path = store.settings.secrets_path
        current_claims_key = key_fingerprint.find_claims_key(
            secrets_path, header.fingerprints, from_file=header.claims_key, from_backup=claims_key
        )
        if not passwords_lost:
            key_fingerprint.check_passwords(secrets_path, header.fingerprints)

        async def connection(party: str) -> Client:
            client = await connect_nats(store.as_party(party), f"import-{party}", patience=_PATIENCE)
            stack.push_async_callback(client.close)
            return client

        topology = await connection(TOPOLOGY)
        operator = await connection(OPERATOR)
        _fits(end, topology.max_payload)
        settings = store.settings
        placement = Placement.parse(settings.stream_placement)
        await ensure_streams(topology, replicas=settings.stream_replicas, placement=placement)
        await ensure_quorum(topology, replicas=settings.stream_replicas, placement=placement)
        jetstream = JetStream(topology)
        own_mark = await _begin(jetstream, operator, header)
        try:
            await quiesce.wait_until_idle(operator, store, steps.say)
            if own_mark:
                if await get_import_marker(jetstream) != own_mark:
                    raise OperatorError("another import started at the same time")
                await _assert_empty(operator)
            else:
                await _assert_ours(jetstream, header)
        except BaseException:
            # Nothing was appended, so the services may start again.
            if own_mark and await get_import_marker(jetstream) == own_mark:
                await set_import_marker(jetstream, None)
            raise
        notes = key_fingerprint.take_over(secrets_path, current_claims_key, header.fingerprints)
        if unreadable.count:
            notes.append(note(unreadable))
        begun = time.monotonic()
        filling = Filling(header, steps.appending)
        owners = {stream.name: await connection(STREAMS[stream.name]) for stream in header.streams}
        try:
            events = await filling.fill(path, owners, await _ends(operator))
        except SequenceMismatch as displaced:
            await _assert_ours(jetstream, header)
            raise Interfered(displaced.stream, displaced.sequence) from displaced
        except IdTaken as taken:
            raise OperatorError(str(taken)) from taken
        await _assert_ours(jetstream, header)
        ends = await _ends(operator)
        for stream in header.streams:
            if ends[stream.name] != stream.last_sequence:
                raise Interfered(stream.name, stream.last_sequence + 1)
        try:
            await record_replaced(jetstream, EndReason.IMPORT, header.id)
        except (RequestFailed, Refused) as failure:
            raise Unavailable(
                f"the import is not recorded for the notary: {failure}; run the same import again"
            ) from failure
        await set_import_marker(jetstream, None)
        seconds = time.monotonic() - begun
        if store.gateway_url and not await quiesce.wait_until_ready(store.gateway_url):
            notes.append(f"{store.gateway_url}/readyz does not report every service as ready yet")
    return Imported(
        file=str(path),
        id=header.id,
        streams=header.streams,
        events=header.events,
        found=events,
        notes=notes,
        seconds=round(seconds, 3),
        events_per_second=round((header.events - events) / seconds, 1) if seconds else 0.0,
    )


async def _checked(
    path: Path, progress: Callable[[int, int], None], allow_unreadable: bool
) -> tuple[Header, End, Unreadable]:
    """Checks the file in a thread, which ends early if the caller is cancelled."""
    given_up = threading.Event()

    def go_on(done: int, total: int) -> None:
        if given_up.is_set():
            raise OperatorError("the check was cancelled")
        progress(done, total)

    try:
        return await asyncio.to_thread(require_valid, path, go_on, allow_unreadable=allow_unreadable)
    finally:
        given_up.set()


async def _begin(jetstream: JetStream, operator: Client, header: Header) -> str:
    """Sets the marker and returns it; returns an empty string if this import had begun before.

    The marker also names the attempt. Of two imports that begin at once, the one that finds the other's marker aborts.

    Raises:
        NotEmpty: the system is not empty.
        OperatorError: another import was begun and not finished.
    """
    marker = await get_import_marker(jetstream)
    if marker is not None and _is_of(marker, header):
        return ""
    if marker is not None:
        other = marker.split()[0]
        raise OperatorError(
            f"the import of another export ({other}) was interrupted: finish it, or start with an empty system"
        )
    await _assert_empty(operator)
    own = f"{header.id} {uuid4().hex}"
    await set_import_marker(jetstream, own)
    return own


async def _assert_ours(jetstream: JetStream, header: Header) -> None:
    marker = await get_import_marker(jetstream)
    if marker is None or not _is_of(marker, header):
        raise OperatorError("the same import was running twice, and the other one has ended")


def _is_of(marker: str, header: Header) -> bool:
    return marker.split()[0] == header.id


async def _ends(nc: Client) -> dict[str, int]:
    log = Log(nc)
    return {stream: await log.end_of(stream) for stream in STREAMS}


async def _assert_empty(nc: Client) -> None:
    ends = await _ends(nc)
    if any(ends.values()):
        raise NotEmpty(ends)


def _fits(end: End, limit: int) -> None:
    if end.largest + _PLACE_BYTES > limit:
        raise OperatorError(
            f"the largest event has {end.largest:,} bytes, and the NATS server accepts {limit:,} (its `max_payload`)"
        )
