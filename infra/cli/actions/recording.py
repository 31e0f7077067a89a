"""Records a command's act before it is done, and a look before anything is shown.

An act that cannot be recorded is not done. What must be possible while NATS is away (`act_without_nats`) is recorded in
a file in the secrets folder. So is everything while the stream must not be appended to: before and during an import,
and while the stream lacks events, or may lack some, whose sequences no other event may get.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from nats.aio.client import Client as NATS

from contracts.envelope import now
from contracts.errors import Unavailable, VestnikError, error_text
from contracts.events.operator import OperatorActed
from contracts.services import OPERATOR
from contracts.subjects import OPERATOR as OPERATOR_STREAM
from contracts.subjects import operator_action
from contracts.values.ids import is_id
from infra.archive.stream_access import Store
from infra.checkpoints import highest_at
from infra.cli.actions.identity import actor
from infra.cli.reader_connection import connect_reader
from infra.operator_errors import OperatorError
from infra.runtime.connections import nats_servers
from infra.runtime.run_file import NotRunning, find
from infra.security.secrets import NATS_PARTIES, MissingSecret
from infra.security.service_schemas import NoServiceSchema, ServiceSchemas
from infra.settings import Settings
from services.operator.actions.pending import PendingActions, can_append
from services.operator.actions.recorder import Act, Recorder
from streams.jetstream.api import Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Append, Log
from streams.loss.watch import LossWatch

T = TypeVar("T")

# Seconds.
_PATIENCE = 5.0
_PATIENCE_WITHOUT_NATS = 2.0
# The page starts the command of an act after it has recorded the act.
_STARTS_WITHIN = timedelta(minutes=10)
# How the stream and the file refuse an event.
_NOT_APPENDED = (VestnikError, OSError, ValueError, Refused, RequestFailed)


class NotRecorded(OperatorError):
    """The act or the look could not be recorded."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"nothing was done or shown, because it could not be recorded: {error_text(error)}")


class _Journal:
    """Appends to the stream, or to the file where there is no stream to append to."""

    def __init__(self, stream: Log | None, pending: PendingActions, *, may_wait: bool) -> None:
        """`may_wait`: events that the stream refuses go to the file; without it only the ends of acts do."""
        self._stream = stream
        self._pending = pending
        self._may_wait = may_wait
        # Subjects of acts whose beginning is in the file: their end has to come after it.
        self._in_file: set[str] = set()

    async def append(self, append: Append) -> int:
        """
        Raises:
            NotRecorded: it may not be stored.
        """
        try:
            if self._stream is not None and append.subject not in self._in_file:
                try:
                    return await self._stream.append(append)
                except _NOT_APPENDED:
                    if append.expected == 0 and not self._may_wait:
                        raise
            await asyncio.to_thread(self._pending.add, append)
        except _NOT_APPENDED as error:
            raise NotRecorded(error) from error
        self._in_file.add(append.subject)
        return 0


async def recorder(settings: Settings, nc: NATS | None, *, may_wait: bool = False) -> Recorder:
    """The recorder of one command, after what waits in the file was appended. `nc`: an operator's connection.

    Raises:
        NotRecorded: the stream cannot be reached.
    """
    pending = PendingActions(settings.secrets_path)
    stream = None
    try:
        if nc is not None and await can_append(nc) and await _is_whole(settings, nc):
            stream = Log(nc, patience=_PATIENCE)
            await pending.flush(stream)
    except _NOT_APPENDED as error:
        if not may_wait:
            raise NotRecorded(error) from error
        stream = None
    return Recorder(_Journal(stream, pending, may_wait=may_wait))


async def _is_whole(settings: Settings, nc: NATS) -> bool:
    """Whether OPERATOR is known to have all its events; not while the database does not say what it had.

    Raises:
        Unavailable: NATS does not answer.
    """
    try:
        await LossWatch(nc, OPERATOR_STREAM, partial(_highest, settings), patience=_PATIENCE).assert_whole()
    except (RequestFailed, Refused) as failure:
        raise Unavailable from failure
    except (VestnikError, OperatorError):
        return False
    return True


async def _highest(settings: Settings) -> int:
    """The highest sequence of OPERATOR that its read models have applied; 0 where no database is known, or the
    operator's service has no schema yet.

    Raises:
        Unavailable: the database does not answer.
        BadSetting: its URL is not valid.
        NoSchemaAccess: this login may not read what the operator's service has applied.
    """
    try:
        database_url = settings.database_url or find(settings.data_dir).database_url
    except NotRunning:
        return 0
    schemas = await ServiceSchemas.discover(database_url)
    try:
        return await highest_at(schemas.url(OPERATOR), OPERATOR_STREAM)
    except NoServiceSchema:
        return 0


@asynccontextmanager
async def acting(
    settings: Settings,
    nc: NATS,
    action: str,
    *,
    by: str | None = None,
    target: str = "",
    details: Mapping[str, str] | None = None,
    reason: str | None = None,
    recorded_as: str | None = None,
) -> AsyncIterator[Act]:
    """Records the act, then how the block ended.

    `recorded_as`: the id of the same act that the page has recorded; it also records the end.

    Raises:
        NotRecorded: before the block runs.
    """
    if recorded_as is not None and await is_recorded(nc, recorded_as, action, target):
        yield Act(recorded_as, actor(by), 0)
        return
    recording = await recorder(settings, nc)
    async with recording.acting(actor(by), action, target=target, details=details, reason=reason or "") as act:
        yield act


async def look(
    settings: Settings, nc: NATS, what: str, *, target: str = "", filter_: Mapping[str, str] | None = None
) -> None:
    """
    Raises:
        NotRecorded: show nothing.
    """
    await (await recorder(settings, nc)).look(actor(), what, target=target, filter_=filter_)


@asynccontextmanager
async def acting_without_nats(
    settings: Settings,
    action: str,
    *,
    by: str | None = None,
    target: str = "",
    details: Mapping[str, str] | None = None,
    reason: str | None = None,
) -> AsyncIterator[Act]:
    """As `acting`, also while NATS is away; the act then waits in the file.

    Raises:
        NotRecorded: the file cannot be written; nothing was done.
    """
    nc = await _connected(settings)
    try:
        recording = await recorder(settings, nc, may_wait=True)
        async with recording.acting(actor(by), action, target=target, details=details, reason=reason or "") as act:
            yield act
    finally:
        if nc is not None:
            await nc.close()


async def act_without_nats(
    settings: Settings,
    action: str,
    work: Callable[[], T],
    *,
    by: str | None = None,
    target: str = "",
    details: Mapping[str, str] | None = None,
    reason: str | None = None,
) -> T:
    """Does the work as `acting_without_nats` records it."""
    async with acting_without_nats(settings, action, by=by, target=target, details=details, reason=reason):
        return work()


async def flush(settings: Settings) -> None:
    """Appends the acts that wait in the file, if the stream takes them now; otherwise they wait on."""
    nc = await _connected(settings)
    if nc is not None:
        try:
            await recorder(settings, nc, may_wait=True)
        finally:
            await nc.close()


async def is_recorded(nc: NATS, action_id: str, action: str, target: str) -> bool:
    """Whether the page recorded this act just now, and it is under way: its command does not record it again."""
    if not is_id(action_id):
        return False
    messages = await Log(nc, patience=_PATIENCE).read(operator_action(action_id), limit=2)
    if len(messages) != 1:
        return False
    event = messages[0].open()
    return (
        isinstance(event.data, OperatorActed)
        and (event.data.action, event.data.target, event.data.channel) == (action, target, "page")
        and now() - event.at < _STARTS_WITHIN
    )


async def _connected(settings: Settings) -> NATS | None:
    """An operator's connection; None if NATS is away, or its login is not in the secrets folder."""
    try:
        url = settings.nats_url or find(settings.data_dir).nats_url
        settings = msgspec.structs.replace(settings, nats_url=url)
        if urlsplit(nats_servers(url)[0]).username in NATS_PARTIES:
            settings = Store(settings, alone=False).as_party(OPERATOR)
        return await connect_reader(settings, "operator-actions", patience=_PATIENCE_WITHOUT_NATS)
    except (NotRunning, MissingSecret, VestnikError):
        return None
