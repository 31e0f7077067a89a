"""Load, decide, append: cached aggregate state, one writer at a time in a process, retry on conflict.

A cached state proves nothing by itself. The append's condition guards a decision that appends. A decision that refuses
or appends nothing counts only on state that the stream's leader confirmed in the same call. In a cluster
`streams/log.py` allows such a read only with evidence that the leader is still the leader.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic as _clock
from typing import Generic, TypeVar

import msgspec

from contracts.envelope import Provenance, Recorded, now, recorded, seal
from contracts.errors import DeadlineExceeded, HistoryLost, Overloaded, Unavailable, VestnikError
from contracts.events.event import Event
from contracts.subjects import stream_of
from streams.keyed_locks import Locks
from streams.log import Append, Conflict, Log
from streams.lru_cache import LruCache
from streams.message import Message

_LOG = logging.getLogger(__name__)
# Seconds for which a decision is repeated after conflicts.
_PATIENCE = 10.0
# Seconds after which a caller may ask again for an aggregate that lacks events: an operator has to act first.
_AFTER_LOSS = 60

S = TypeVar("S")


class LoadedAggregate(msgspec.Struct, Generic[S], frozen=True):
    """An aggregate's state after a particular event."""

    state: S
    # The stream sequence of that event; 0 before the first.
    sequence: int
    # How many events the aggregate had; 0 before the first.
    version: int
    # When that event was decided; None before the first.
    at: datetime | None = None


class CommandResult(msgspec.Struct, Generic[S], frozen=True):
    """Result of a command: the aggregate after it, and the appended events."""

    state: S
    # The stream sequence of the aggregate's last event; 0 if it has none.
    sequence: int
    version: int
    # The appended events; empty if the command appended none.
    events: tuple[Recorded[Event], ...]


class BrokenHistory(HistoryLost):
    """An aggregate's versions have a gap, or acknowledged events are gone from the stream."""

    def __init__(self, what: str) -> None:
        """`what`: for the log; a caller does not learn of subjects and sequences."""
        super().__init__(HistoryLost.__doc__, retry_after=_AFTER_LOSS)
        self._what = what
        _LOG.error("%s", what)

    def __str__(self) -> str:
        return self._what


class Repository(Generic[S]):
    def __init__(
        self,
        log: Log,
        *,
        subject: Callable[[str], str],
        initial: S,
        evolve: Callable[[S, Event, datetime], S],
        tail_only: bool = False,
        carries_state: Callable[[Event], bool] | None = None,
        capacity: int = 50_000,
    ) -> None:
        """`tail_only`: the state is evolved from `initial` by the last event alone; earlier events are not read.

        `carries_state`: whether an event contains the whole state; if it is the last one, earlier events are not read.

        `capacity`: how many aggregates are cached; the least recently used are evicted first.
        """
        self._log = log
        self._subject = subject
        self._initial = initial
        self._evolve = evolve
        self._tail_only = tail_only
        self._carries_state = carries_state
        self._cache: LruCache[str, LoadedAggregate[S]] = LruCache(capacity)
        self._locks = Locks()

    async def load(self, aggregate_id: str) -> LoadedAggregate[S]:
        """The aggregate with every event that was acknowledged before this call.

        Raises:
            Unavailable: the event store cannot be reached.
            BrokenHistory: the stream lacks events that were read before; raised once, then the stream counts as it is.
        """
        known = self._cache.get(aggregate_id)
        loaded = await self._catch_up(aggregate_id, known or LoadedAggregate(self._initial, 0, 0), fresh=known is None)
        self._remember(aggregate_id, loaded)
        return loaded

    def cached(self, aggregate_id: str) -> LoadedAggregate[S] | None:
        """The cached aggregate, unconfirmed: sufficient for facts that cannot change."""
        return self._cache.get(aggregate_id)

    async def execute(
        self, aggregate_id: str, decide: Callable[[S], Sequence[Event]], provenance: Provenance
    ) -> CommandResult[S]:
        """Decides on the aggregate's state and appends the events; `decide` may be called several times.

        Raises:
            VestnikError: the decision's refusal, made on confirmed state; or an error of the log.
            Overloaded: conflicts with other writers for 10 s.
        """
        async with self.lock(aggregate_id) as editing:
            deadline = _clock() + _PATIENCE
            while _clock() < deadline:
                try:
                    events = decide(editing.state)
                except VestnikError:
                    if await editing.confirm():
                        raise
                    continue
                if not events and not await editing.confirm():
                    continue
                try:
                    return await editing.append(events, provenance)
                except Conflict:
                    await editing.refresh()
        raise Overloaded

    def lock(self, aggregate_id: str) -> "_Locked[S]":
        """Locks the aggregate within this process, for a decision that has to await something in between.

        A cached state may be stale: a refusal needs `confirm()`.
        """
        return _Locked(self, aggregate_id)

    def appends(
        self, aggregate_id: str, loaded: LoadedAggregate[S], events: Sequence[Event], provenance: Provenance
    ) -> list[Append]:
        """Appends for a batch: the events in envelopes, on condition that no event follows `loaded`.

        They are not earlier than the event before them, whatever this machine's clock says.
        """
        subject = self._subject(aggregate_id)
        at = now() if loaded.at is None else max(now(), loaded.at)
        return [
            Append(
                subject=subject,
                expected=loaded.sequence,
                envelope=seal(event, aggregate_id=aggregate_id, version=version, provenance=provenance, at=at),
            )
            for version, event in enumerate(events, loaded.version + 1)
        ]

    def forget(self, aggregate_id: str) -> None:
        self._cache.discard(aggregate_id)

    def forget_all(self) -> None:
        self._cache.clear()

    async def _store(
        self, aggregate_id: str, ahead: LoadedAggregate[S], staged: Sequence[tuple[Append, Event]]
    ) -> tuple[LoadedAggregate[S], tuple[Recorded[Event], ...]]:
        """Appends the staged events; `ahead` is the resulting aggregate, except for its sequence."""
        try:
            sequences = await self._log.append_together([append for append, _ in staged])
        except (Unavailable, DeadlineExceeded):
            # If the stream has lost events that are cached here, no append on this state can ever succeed.
            self.forget(aggregate_id)
            raise
        stored = LoadedAggregate(ahead.state, sequences[-1], ahead.version, ahead.at)
        self._remember(aggregate_id, stored)
        return stored, tuple(_recorded(*event, sequence) for event, sequence in zip(staged, sequences, strict=True))

    async def _catch_up(
        self, aggregate_id: str, loaded: LoadedAggregate[S], *, fresh: bool = False
    ) -> LoadedAggregate[S]:
        """Brings the aggregate up to date with the stream's leader."""
        subject = self._subject(aggregate_id)
        if not fresh or self._tail_only or self._carries_state is not None:
            last = await self._log.last_stored(subject)
            end = last.sequence if last is not None else 0
            if end < loaded.sequence:
                if self._log.replicated:
                    # The leader lags behind what was already read: the cached state is newer.
                    raise Unavailable(retry_after=1)
                self.forget(aggregate_id)
                raise BrokenHistory(f"{subject} ends at {end}, but was read up to {loaded.sequence}: events are gone")
            if last is None or end == loaded.sequence:
                return loaded
            (last,) = await self._log.readable([last])
            envelope = last.envelope()
            if (
                self._tail_only
                or envelope.version == loaded.version + 1
                or (self._carries_state is not None and self._carries_state(last.open().data))
            ):
                return self._open(msgspec.structs.replace(loaded, version=envelope.version - 1), last)
        for message in await self._log.read(subject, after=loaded.sequence):
            loaded = self._open(loaded, message)
        return loaded

    def _open(self, loaded: LoadedAggregate[S], message: Message) -> LoadedAggregate[S]:
        event = message.open()
        if event.version != loaded.version + 1:
            raise BrokenHistory(f"{message.subject}: version {event.version} follows version {loaded.version}")
        return self._with(loaded, event.data, event.at, message.sequence)

    def _with(self, loaded: LoadedAggregate[S], event: Event, at: datetime, sequence: int) -> LoadedAggregate[S]:
        before = self._initial if self._tail_only else loaded.state
        return LoadedAggregate(self._evolve(before, event, at), sequence, loaded.version + 1, at)

    def _remember(self, aggregate_id: str, loaded: LoadedAggregate[S]) -> None:
        known = self._cache.get(aggregate_id)
        if known is None or known.sequence <= loaded.sequence:
            self._cache.put(aggregate_id, loaded)


class _Locked(Generic[S]):
    __slots__ = ("_aggregate_id", "_hold", "_repository")

    def __init__(self, repository: Repository[S], aggregate_id: str) -> None:
        self._repository = repository
        self._aggregate_id = aggregate_id
        self._hold = repository._locks.hold(aggregate_id)

    async def __aenter__(self) -> "AggregateSession[S]":
        await self._hold.__aenter__()
        try:
            known = self._repository.cached(self._aggregate_id)
            loaded = known if known is not None else await self._repository.load(self._aggregate_id)
        except BaseException:
            await self._hold.__aexit__()
            raise
        return AggregateSession(self._repository, self._aggregate_id, loaded, confirmed=known is None)

    async def __aexit__(self, *exception: object) -> None:
        await self._hold.__aexit__()


class AggregateSession(Generic[S]):
    """One writer's access to a locked aggregate: decide, stage, store."""

    def __init__(
        self, repository: Repository[S], aggregate_id: str, loaded: LoadedAggregate[S], *, confirmed: bool
    ) -> None:
        self._repository = repository
        self._aggregate_id = aggregate_id
        self._loaded = loaded
        # Includes the staged events, but still has the sequence after which they are to be stored.
        self._ahead = loaded
        self._staged: list[tuple[Append, Event]] = []
        # Whether the stream's leader has confirmed the state in this call.
        self.confirmed = confirmed

    @property
    def state(self) -> S:
        """The state, including staged events."""
        return self._ahead.state

    @property
    def sequence(self) -> int:
        """The stream sequence of the last stored event."""
        return self._loaded.sequence

    @property
    def version(self) -> int:
        """The version, including staged events."""
        return self._ahead.version

    async def confirm(self) -> bool:
        """Whether the state that a decision was made on is current; if not, the state is now the current one."""
        return self.confirmed or not await self.refresh()

    async def refresh(self) -> bool:
        """Reloads the state from the stream's leader and drops staged events; returns whether the state changed."""
        before = self._loaded.sequence
        self._loaded = await self._repository.load(self._aggregate_id)
        self._unstage()
        self.confirmed = True
        return self._loaded.sequence != before

    def stage(self, events: Sequence[Event], provenance: Provenance) -> None:
        """Stages events for the next `store`; decisions until then see the state after them."""
        appends = self._repository.appends(self._aggregate_id, self._ahead, events, provenance)
        for append, event in zip(appends, events, strict=True):
            self._staged.append((append, event))
            self._ahead = self._repository._with(self._ahead, event, append.envelope.at, self._loaded.sequence)

    async def store(self) -> tuple[Recorded[Event], ...]:
        """Appends the staged events, all or none, on condition that no other event follows the loaded state.

        Afterwards nothing is staged, whatever the outcome.

        Raises:
            Conflict: another event follows it; `refresh()` and decide again.
        """
        try:
            self._loaded, stored = await self._repository._store(self._aggregate_id, self._ahead, self._staged)
        finally:
            self._unstage()
        return stored

    async def append(self, events: Sequence[Event], provenance: Provenance) -> CommandResult[S]:
        """Stages the events and stores them.

        Raises:
            Conflict: as `store`.
        """
        self.stage(events, provenance)
        stored = await self.store() if self._staged else ()
        return CommandResult(self._loaded.state, self._loaded.sequence, self._loaded.version, stored)

    def _unstage(self) -> None:
        self._staged = []
        self._ahead = self._loaded


def _recorded(append: Append, event: Event, sequence: int) -> Recorded[Event]:
    stream = stream_of(append.subject)
    return recorded(append.envelope, event, stream=stream, sequence=sequence, subject=append.subject)
