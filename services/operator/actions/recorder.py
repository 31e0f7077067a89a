"""Appends operators' acts and looks to the stream OPERATOR: an act before it is done, a look before it is shown.

An act that cannot be recorded is not done. Its end is a second event: an act without one was interrupted, and may have
taken effect or not.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

import msgspec

from contracts.envelope import Provenance, now, seal
from contracts.errors import DeadlineExceeded, Unavailable, VestnikError, error_text, first_line
from contracts.events.event import Event
from contracts.events.operator_actions import Outcome
from contracts.subjects import operator_action
from contracts.values.ids import new_id
from infra.operator_errors import OperatorError
from infra.rpc.call_context import current
from services.operator.actions import domain
from services.operator.actions.domain import Actor
from streams.jetstream.api import Refused
from streams.keyed_locks import Locks
from streams.log import Append, Conflict
from streams.lru_cache import LruCache

log = logging.getLogger(__name__)
# Seconds for which a look that is repeated is the same one.
SAME_LOOK = 600.0
_LOOKS = 10_000
_Look = tuple[Actor, str, str, tuple[tuple[str, str], ...]]


class _Recorded(msgspec.Struct, frozen=True):
    """When a look was recorded, and from which time on it showed things; empty: from the beginning."""

    at: float
    since: str


class Journal(Protocol):
    """Where events are appended: `Log`, or what the command line has for times without it."""

    async def append(self, append: Append) -> int: ...


class Act:
    """An act that is recorded and under way; its caller may say that it failed, or was cancelled."""

    def __init__(self, action_id: str, actor: Actor, sequence: int, began_at: datetime | None = None) -> None:
        self.id = action_id
        self.actor = actor
        # Of its first event in the stream.
        self.sequence = sequence
        # Its end is not earlier, whatever the clock says.
        self.began_at = began_at or now()
        self.outcome: Outcome = "done"
        self.error = ""
        # Whether it is done permanently, whatever fails afterwards.
        self.is_final = False

    def ends(self, outcome: Outcome, error: str = "") -> None:
        self.outcome, self.error = outcome, error


class Recorder:
    def __init__(self, journal: Journal, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`journal`: with the right to append to OPERATOR."""
        self._journal = journal
        self._clock = clock
        # The looks that were recorded last.
        self._looks: LruCache[_Look, _Recorded] = LruCache(_LOOKS)
        self._locks = Locks()

    async def begin(
        self,
        actor: Actor,
        action: str,
        *,
        target: str = "",
        details: Mapping[str, str] | None = None,
        reason: str = "",
        action_id: str | None = None,
    ) -> Act:
        """Records that an act is about to be done.

        Raises:
            Unavailable, Overloaded, HistoryLost: it is not recorded.
            DeadlineExceeded: it is unknown whether it is recorded.
        """
        action_id = action_id or new_id()
        event = domain.acted(actor, action, target, details or {}, reason)
        began_at = now()
        sequence = await self._append(action_id, actor, event, expected=0, version=1, at=began_at)
        return Act(action_id, actor, sequence, began_at)

    async def end(self, act: Act) -> None:
        """Records how the act ended. If that fails, it is logged: the act has been done, and counts as interrupted."""
        event = domain.ended(act.outcome, act.error)
        try:
            at = max(now(), act.began_at)
            await self._append(act.id, act.actor, event, expected=act.sequence, version=2, at=at)
        except (VestnikError, OperatorError, Conflict, Refused, OSError, ValueError) as error:
            log.warning("the end of act %s is not recorded: %s", act.id, error_text(error))

    @asynccontextmanager
    async def acting(
        self,
        actor: Actor,
        action: str,
        *,
        target: str = "",
        details: Mapping[str, str] | None = None,
        reason: str = "",
    ) -> AsyncIterator[Act]:
        """Records the act, then how the block ended: done, or what its `ends` said, or failed with its exception.

        It gets no end if nobody knows whether it took effect: it was sent and not answered, or the caller went away.

        Raises: as `begin` does, before the block runs.
        """
        act = await self.begin(actor, action, target=target, details=details, reason=reason)
        try:
            yield act
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
            unknown = isinstance(error, DeadlineExceeded | Unavailable) or (cancelled and actor.channel == "page")
            if not act.is_final:
                act.ends("cancelled" if cancelled else "failed", "" if cancelled else described(error))
            if act.is_final or not unknown:
                await self.end(act)
            raise
        await self.end(act)

    async def look(
        self, actor: Actor, what: str, *, target: str = "", filter_: Mapping[str, str] | None = None
    ) -> None:
        """Records a look, unless the same one was recorded in the last ten minutes: with the same filter, and a period
        that begins no earlier. So the polls of a page that shows the last hour are one look.

        Raises:
            Unavailable, Overloaded, HistoryLost, DeadlineExceeded: it may not be recorded; show nothing.
        """
        event = domain.looked(actor, what, target, filter_ or {})
        asked = {name: str(value) for name, value in event.filter.items()}
        # Times are RFC 3339 in UTC, so that text compares as they do; without one, from the beginning.
        since = asked.pop("since", "")
        look = (actor, what, target, tuple(sorted(asked.items())))
        # Of two at the same time one is recorded, and the other waits for it.
        async with self._locks.hold(repr(look)):
            recorded = self._looks.get(look)
            if recorded is not None and self._clock() - recorded.at < SAME_LOOK and recorded.since <= since:
                return
            await self._append(new_id(), actor, event, expected=0, version=1, at=now())
            self._looks.put(look, _Recorded(self._clock(), since))

    async def _append(
        self, action_id: str, actor: Actor, event: Event, *, expected: int, version: int, at: datetime
    ) -> int:
        provenance: Provenance = msgspec.structs.replace(current().provenance(), actor=actor.id)
        envelope = seal(event, aggregate_id=action_id, version=version, provenance=provenance, at=at)
        return await self._journal.append(
            Append(subject=operator_action(action_id), expected=expected, envelope=envelope)
        )


def described(error: BaseException) -> str:
    """The first line of an error that an operator can read; of any other only its type."""
    if isinstance(error, OperatorError | VestnikError):
        return first_line(error)
    return type(error).__name__
