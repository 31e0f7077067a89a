"""Load, decide, append: an aggregate's state in memory, one writer at a time, and another try on conflict.

A cached state proves nothing by itself. The append's condition guards a decision that appends; one that refuses, or
has nothing to append, counts only on state that the stream's leader confirmed in the same call. In a cluster
`streams/log.py` lets that pass only with evidence that the leader is one still.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic as _clock
from typing import Generic, TypeVar

import msgspec

from contracts.envelope import Provenance, Recorded, seal
from contracts.errors import DeadlineExceeded, Overloaded, Unavailable, VestnikError
from contracts.events.event import Event
from contracts.subjects import stream_of
from streams.keyed_locks import Locks
from streams.log import Append, Conflict, Log
from streams.lru_cache import Cache
from streams.message import Message

# Seconds for which a decision is made anew because somebody else was first.
_PATIENCE = 10.0

S = TypeVar("S")


class LoadedAggregate(msgspec.Struct, Generic[S], frozen=True):
    """An aggregate as it was after some event."""

    state: S
    # The stream sequence of that event; 0 before the first.
    sequence: int
    # How many events the aggregate had; 0 before the first.
    version: int


class CommandResult(msgspec.Struct, Generic[S], frozen=True):
    """What a decision led to."""

    state: S
    # The stream sequence of the aggregate's last event; 0 if it has none.
    sequence: int
    version: int
    # What was appended; empty if nothing had to be.
    events: tuple[Recorded[Event], ...]


class BrokenHistory(Exception):
    """An aggregate's versions have a gap, or events that were acknowledged are gone: the stream is not what it was."""


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
        """`tail_only`: the state is that of the last event alone, evolved from `initial`; nothing before is read.

        `carries_state`: whether an event has the whole state, so that nothing before it is read when it is the last.

        `capacity`: how many aggregates are kept in memory, the least recently used go first.
        """
        self._log = log
        self._subject = subject
        self._initial = initial
        self._evolve = evolve
        self._tail_only = tail_only
        self._carries_state = carries_state
        self._cache: Cache[LoadedAggregate[S]] = Cache(capacity)
        self._locks = Locks()

    async def load(self, aggregate_id: str) -> LoadedAggregate[S]:
        """The aggregate with every event that was acknowledged before this call.

        Raises:
            Unavailable: the event store cannot be reached.
            BrokenHistory: the stream lacks what was read of it before; said once, then it counts as it is.
        """
        known = self._cache.get(aggregate_id)
        loaded = await self._catch_up(aggregate_id, known or LoadedAggregate(self._initial, 0, 0), fresh=known is None)
        self._remember(aggregate_id, loaded)
        return loaded

    async def load_at(
        self, aggregate_id: str, *, version: int | None = None, at: datetime | None = None
    ) -> LoadedAggregate[S]:
        """The aggregate as it was: up to a version, up to a moment, or both; with fewer events as far as they go.

        For readers of history: it is read from the stream each time, all of it, and what is in memory stays as it is.

        Raises:
            Unavailable: the event store cannot be reached.
        """
        loaded: LoadedAggregate[S] = LoadedAggregate(self._initial, 0, 0)
        for message in await self._log.read(self._subject(aggregate_id), until_version=version, at=at):
            loaded = self._open(loaded, message)
        return loaded

    def cached(self, aggregate_id: str) -> LoadedAggregate[S] | None:
        """What is in memory, unconfirmed: good for facts that cannot change."""
        return self._cache.get(aggregate_id)

    async def execute(
        self, aggregate_id: str, decide: Callable[[S], Sequence[Event]], provenance: Provenance
    ) -> CommandResult[S]:
        """Decides on the aggregate's state and appends the events; `decide` may be called several times.

        Raises:
            VestnikError: the decision's own refusal, made on confirmed state; or that of the log.
            Overloaded: somebody else was first, time and again for 10 s.
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
        """The aggregate for a decision that has to wait for something in between; in this process nobody else has it.

        What was cached may be behind: a refusal needs `confirm()`.
        """
        return _Locked(self, aggregate_id)

    def appends(
        self, aggregate_id: str, loaded: LoadedAggregate[S], events: Sequence[Event], provenance: Provenance
    ) -> list[Append]:
        """The events in their envelopes, on condition that nothing has come behind `loaded`: for a batch."""
        subject = self._subject(aggregate_id)
        return [
            Append(
                subject=subject,
                expected=loaded.sequence,
                envelope=seal(event, aggregate_id=aggregate_id, version=version, provenance=provenance),
            )
            for version, event in enumerate(events, loaded.version + 1)
        ]

    def forget(self, aggregate_id: str) -> None:
        self._cache.discard(aggregate_id)

    async def _store(
        self, aggregate_id: str, ahead: LoadedAggregate[S], staged: Sequence[tuple[Append, Event]]
    ) -> tuple[LoadedAggregate[S], tuple[Recorded[Event], ...]]:
        """Stores what is staged; `ahead` is the aggregate as it is then, but for the sequence."""
        try:
            sequences = await self._log.append_together([append for append, _ in staged])
        except (Unavailable, DeadlineExceeded):
            # Should the stream have lost what is in memory here, no append on it could ever succeed.
            self.forget(aggregate_id)
            raise
        stored = LoadedAggregate(ahead.state, sequences[-1], ahead.version)
        self._remember(aggregate_id, stored)
        return stored, tuple(_recorded(*each, sequence) for each, sequence in zip(staged, sequences, strict=True))

    async def _catch_up(
        self, aggregate_id: str, loaded: LoadedAggregate[S], *, fresh: bool = False
    ) -> LoadedAggregate[S]:
        """The aggregate as the stream's leader has it."""
        subject = self._subject(aggregate_id)
        if not fresh or self._tail_only or self._carries_state is not None:
            last = await self._log.last(subject)
            end = last.sequence if last is not None else 0
            if end < loaded.sequence:
                if self._log.replicated:
                    # A leader that lags behind what was read already; what is in memory is the newer of the two.
                    raise Unavailable(retry_after=1)
                self.forget(aggregate_id)
                raise BrokenHistory(f"{subject} ends at {end}, but was read up to {loaded.sequence}: events are gone")
            if last is None or end == loaded.sequence:
                return loaded
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
            raise BrokenHistory(f"{message.subject}: version {event.version} stands behind {loaded.version}")
        return self._with(loaded, event.data, event.at, message.sequence)

    def _with(self, loaded: LoadedAggregate[S], event: Event, at: datetime, sequence: int) -> LoadedAggregate[S]:
        before = self._initial if self._tail_only else loaded.state
        return LoadedAggregate(self._evolve(before, event, at), sequence, loaded.version + 1)

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
    """One aggregate in one writer's hand."""

    def __init__(
        self, repository: Repository[S], aggregate_id: str, loaded: LoadedAggregate[S], *, confirmed: bool
    ) -> None:
        self._repository = repository
        self._aggregate_id = aggregate_id
        self._loaded = loaded
        # With what is staged, but for the sequence: that is still the one behind which it has to be stored.
        self._ahead = loaded
        self._staged: list[tuple[Append, Event]] = []
        # Whether the stream's leader has confirmed the state in this call.
        self.confirmed = confirmed

    @property
    def state(self) -> S:
        """With what is staged."""
        return self._ahead.state

    @property
    def sequence(self) -> int:
        """The stream sequence of the last event that is stored."""
        return self._loaded.sequence

    @property
    def version(self) -> int:
        """With what is staged."""
        return self._ahead.version

    async def confirm(self) -> bool:
        """Whether the state that a decision was made on holds; if it does not, it is the new one from here on."""
        return self.confirmed or not await self.refresh()

    async def refresh(self) -> bool:
        """Brings the state up to what the stream's leader has, with nothing staged; whether it changed."""
        before = self._loaded.sequence
        self._loaded = await self._repository.load(self._aggregate_id)
        self._unstage()
        self.confirmed = True
        return self._loaded.sequence != before

    def stage(self, events: Sequence[Event], provenance: Provenance) -> None:
        """Has the events stored with the next `store`; whatever is decided until then, is decided behind them."""
        appends = self._repository.appends(self._aggregate_id, self._ahead, events, provenance)
        for append, event in zip(appends, events, strict=True):
            self._staged.append((append, event))
            self._ahead = self._repository._with(self._ahead, event, append.envelope.at, self._loaded.sequence)

    async def store(self) -> tuple[Recorded[Event], ...]:
        """Appends what is staged, all or none, on condition that nothing has come behind the state.

        Whatever becomes of it, nothing is staged any more.

        Raises:
            Conflict: something has; `refresh()` and decide again.
        """
        try:
            self._loaded, recorded = await self._repository._store(self._aggregate_id, self._ahead, self._staged)
        finally:
            self._unstage()
        return recorded

    async def append(self, events: Sequence[Event], provenance: Provenance) -> CommandResult[S]:
        """Stages the events and stores them.

        Raises:
            Conflict: as `store`.
        """
        self.stage(events, provenance)
        recorded = await self.store() if self._staged else ()
        return CommandResult(self._loaded.state, self._loaded.sequence, self._loaded.version, recorded)

    def _unstage(self) -> None:
        self._staged = []
        self._ahead = self._loaded


def _recorded(append: Append, event: Event, sequence: int) -> Recorded[Event]:
    envelope = append.envelope
    return Recorded(
        stream=stream_of(append.subject),
        sequence=sequence,
        subject=append.subject,
        id=envelope.id,
        type=envelope.type,
        aggregate_id=envelope.aggregate_id,
        version=envelope.version,
        at=envelope.at,
        actor=envelope.actor,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        data=event,
    )
