"""The history of one aggregate: its events, and its state after each, read through the library's repository.

Memory is bounded by a page of events, however many the aggregate has: a range of versions is found by binary search,
and the state before it is read once. Where the last event determines the state, that event serves as a snapshot.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from eventsourcing.application import AggregateNotFoundError, Repository
from eventsourcing.persistence import (
    DataError,
    EventStore,
    JSONTranscoder,
    Mapper,
    OperationalError,
    PersistenceError,
    StoredEvent,
)
from nats.aio.client import Client as NATS

from contracts import catalogue
from contracts.envelope import now
from contracts.errors import Unavailable
from contracts.events.event import Event
from contracts.values.timestamps import rfc3339
from infra.history.event_history import SKEW, EventView, to_view
from infra.operator_errors import OperatorError
from services.operator.history.aggregate_kinds import AggregateKind
from services.operator.redaction import redact, redact_state
from streams.jetstream.api import JetStream
from streams.loss.missing_events import Gap, accepted
from streams.message import Message
from streams.persistence.history_recorder import HistoryRecorder, StoredMessage
from streams.persistence.sync_bridge import Caller

# Seconds; a call waits three times as long, which is less than a request may take.
_PATIENCE = 3.0
_NULL = msgspec.Raw(b"null")


class NoSuchVersion(OperatorError):
    """There is no aggregate of this id, or it has no event of this version or time."""


class AggregateVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One event of an aggregate, and the aggregate's state after it."""

    event: EventView
    # None: unknown, since an event up to this one cannot be read; `error` of that event tells why.
    state: dict[str, Any] | None
    error: str | None = None
    # Versions directly before this one that the stream no longer has, as `4` or `4-6`.
    missing: str | None = None
    # Accepted losses of the stream directly before this event, as `MESSAGING:7-9`: they may have been the aggregate's.
    lost_before: list[str] = []
    # The same after the aggregate's last event.
    lost_after: list[str] = []
    # If this is the last version: when the state expired, which no event records.
    expired_at: datetime | None = None


class VersionedEvent(msgspec.Struct, frozen=True):
    """A domain event as the library's repository requires it."""

    originator_id: str
    originator_version: int
    message: Message

    def opened(self) -> tuple[Event | None, datetime, Exception | None]:
        """The event, its time, and why it cannot be read."""
        envelope = self.message.envelope()
        try:
            return self.message.open().data, envelope.at, None
        except (msgspec.DecodeError, LookupError) as error:
            return None, envelope.at, error


class VersionedState(msgspec.Struct, frozen=True):
    """An aggregate as the library's repository requires it; its state is None if it is unknown."""

    id: str
    version: int
    state: object | None


class _EventMapper(Mapper[str]):
    def to_domain_event(self, stored_event: StoredEvent) -> VersionedEvent:
        assert isinstance(stored_event, StoredMessage)
        return VersionedEvent(str(stored_event.originator_id), stored_event.originator_version, stored_event.message)


class AggregateHistory:
    """One aggregate's versions. Its methods block: they run in another thread than the connection's loop."""

    def __init__(self, kind: AggregateKind, aggregate_id: str, client: NATS, loop: asyncio.AbstractEventLoop) -> None:
        self.kind = kind
        self.aggregate_id = aggregate_id
        self._caller = Caller(loop, client, patience=_PATIENCE)
        self._recorder = HistoryRecorder(self._caller, kind.subject_of, patience=_PATIENCE)
        self._store: EventStore[str] = EventStore(_EventMapper(JSONTranscoder()), self._recorder)
        # An event that determines the state is a snapshot of its version.
        self._repository = Repository(self._store, snapshot_store=self._store if kind.tail_only else None)

    def stop(self) -> None:
        """Ends a read that still runs in another thread: its result is no longer wanted."""
        self._caller.stop()

    def last_version(self) -> int:
        """The version of the last event.

        Raises:
            NoSuchVersion: there is no event.
            Unavailable: NATS does not answer.
            OperatorError: the stream or an event cannot be read.
        """
        with _readable(self.kind):
            newest = list(self._store.get(self.aggregate_id, desc=True, limit=1))
        if not newest:
            raise NoSuchVersion(f"no such aggregate: {self.kind.name} {self.aggregate_id} has no events")
        return newest[0].originator_version

    def version_at(self, moment: datetime) -> int:
        """The version at a moment.

        Raises:
            NoSuchVersion: the first event is of later.
            Unavailable, OperatorError: as `last_version`.
        """
        with _readable(self.kind):
            version = self._recorder.version_at(self.aggregate_id, moment, SKEW)
        if not version:
            raise NoSuchVersion(f"{self.kind.name} {self.aggregate_id} had no events yet at {rfc3339(moment)}")
        return version

    def versions(
        self, *, version: int | None = None, at: datetime | None = None, last: int, redacted: bool
    ) -> Iterator[AggregateVersion]:
        """Yields the `last` versions up to one or up to a moment, the oldest first; without either, up to the newest.

        `redacted`: without personal data. Private events come without data, and secrets are never shown.

        Raises:
            NoSuchVersion: the aggregate does not exist, or has no such version.
            Unavailable, OperatorError: as `last_version`.
        """
        end = self.last_version()
        if version is not None and version > end:
            raise NoSuchVersion(f"{self.kind.name} {self.aggregate_id} has {end:,} versions: there is no {version:,}")
        until = version or (self.version_at(at) if at else end)
        is_lost = True
        for stored in self._range(max(until - last + 1, 1), until, end, at or now(), redacted=redacted):
            is_lost = False
            yield stored
        if is_lost:
            raise NoSuchVersion(f"the events of {self.kind.name} {self.aggregate_id} up to version {until:,} are lost")

    def _range(
        self, first: int, until: int, end: int, moment: datetime, *, redacted: bool
    ) -> Iterator[AggregateVersion]:
        gaps = self._accepted_losses()
        # Begins with the event before the range, to find what is missing between the two.
        version, sequence, state = max(first - 2, 0), 0, self._state_before(first)
        with _readable(self.kind):
            for event in self._store.get(self.aggregate_id, gt=version, lte=until):
                assert isinstance(event, VersionedEvent)
                message = event.message
                if event.originator_version >= first:
                    missing = event.originator_version - version - 1
                    begin = version + 1
                    opened, at, error = event.opened()
                    state = self.kind.next_state(state, opened, at)
                    is_last = event.originator_version == end
                    yield AggregateVersion(
                        event=self._view(message, redacted=redacted),
                        state=None if state is None else redact_state(self.kind, state, redacted=redacted),
                        error=None if error is None else _reason(error, message, redacted=redacted),
                        missing=None if not missing else f"{begin}" if missing == 1 else f"{begin}-{version + missing}",
                        lost_before=_between(gaps, sequence, message.sequence) if sequence or missing else [],
                        lost_after=_between(gaps, message.sequence, None) if is_last else [],
                        expired_at=_expired_at(state, moment) if is_last else None,
                    )
                version, sequence = event.originator_version, message.sequence

    def _state_before(self, first: int) -> object | None:
        try:
            with _readable(self.kind):
                before: VersionedState = self._repository.get(
                    self.aggregate_id, version=first - 1, projector_func=self._projected
                )
        except AggregateNotFoundError:
            initial: object = self.kind.initial
            return initial
        return before.state

    def _projected(self, before: VersionedState | None, events: Iterable[VersionedEvent]) -> VersionedState | None:
        for event in events:
            opened, at, _ = event.opened()
            state = self.kind.next_state(self.kind.initial if before is None else before.state, opened, at)
            before = VersionedState(event.originator_id, event.originator_version, state)
        return before

    def _view(self, message: Message, *, redacted: bool) -> EventView:
        envelope = message.envelope()
        try:
            view = to_view(message, envelope, raw=False)
        except (msgspec.DecodeError, OperatorError):
            view = to_view(message, msgspec.structs.replace(envelope, data=_NULL), raw=True)
        return redact(view) if redacted else view

    def _accepted_losses(self) -> list[Gap]:
        stream = self.kind.aggregate_type.stream
        with _readable(self.kind):
            config = self._caller.call(JetStream(self._caller.client, patience=_PATIENCE).info(stream)).config
        return [Gap(stream, loss.first, loss.last) for loss in accepted(config)]


def _reason(error: Exception, message: Message, *, redacted: bool) -> str:
    """Why an event cannot be read; where its data is hidden only the error's class, since its text may hold data."""
    event = catalogue.EVENTS.get(message.envelope().type)
    is_shown = not redacted and event is not None and not event.PRIVATE
    return str(error) if is_shown or isinstance(error, LookupError) else type(error).__name__


def _between(gaps: list[Gap], after: int, before: int | None) -> list[str]:
    return [str(gap) for gap in gaps if gap.last > after and (before is None or gap.first < before)]


def _expired_at(state: object | None, moment: datetime) -> datetime | None:
    expires_at = getattr(state, "expires_at", None)
    return expires_at if isinstance(expires_at, datetime) and expires_at <= moment else None


@contextmanager
def _readable(kind: AggregateKind) -> Iterator[None]:
    """Translates the library's errors into ours."""
    try:
        yield
    except OperationalError as error:
        raise Unavailable("NATS does not answer.") from error
    except (DataError, msgspec.DecodeError) as error:
        raise OperatorError(f"an event of the {kind.name} cannot be read: {error}") from error
    except PersistenceError as error:
        raise OperatorError(f"{kind.aggregate_type.stream} cannot be read: {error}") from error
