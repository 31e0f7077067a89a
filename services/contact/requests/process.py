"""Reminds of friend requests and cancels them when their time is over or a user is erased, while the service runs.

A process manager: its state is the friendship's stream, its timers are a read model, and each act is a command whose
condition is the stream's. So replicas may act at the same time, and a crash at any moment repeats nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from contracts import envelope
from contracts.envelope import Provenance
from contracts.events.friendship import FriendshipCreated
from contracts.subjects import friendship
from services.contact.domain import Friendship, evolve
from services.contact.requests.domain import RequestTerms, decide_cancel, decide_cancel_of_erased, decide_remind
from services.contact.requests.queries import PendingRequest
from streams.log import Log
from streams.reactions.sweeps import sweep
from streams.repository import Repository

log = logging.getLogger(__name__)
# Seconds between two sweeps, at most.
_EVERY = 60.0
# Sweeps within the shorter of the terms.
_SWEEPS_WITHIN = 20
_BATCH = 500


class Deadlines(Protocol):
    """The requests whose timers have run out, in the read model."""

    async def due(
        self, terms: RequestTerms, now: datetime, limit: int, *, after: PendingRequest | None
    ) -> list[PendingRequest]: ...


class FriendRequestProcess:
    def __init__(
        self,
        event_log: Log,
        deadlines: Deadlines,
        terms: RequestTerms,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._repository: Repository[Friendship] = Repository(
            event_log, subject=friendship, initial=Friendship(), evolve=evolve, tail_only=True
        )
        self._deadlines = deadlines
        self._terms = terms
        self._clock = clock
        # Where the next page of what is due begins; None: with the oldest.
        self._after: PendingRequest | None = None

    async def run(self) -> None:
        """Acts on what is due until cancelled."""
        terms = [term for term in (self._terms.remind_after, self._terms.cancel_after) if term is not None]
        every = min([_EVERY, *(term.total_seconds() / _SWEEPS_WITHIN for term in terms)])
        await sweep("friend requests", self.due, self.act, name_of=lambda request: request.pair_id, every=every)

    async def due(self) -> list[PendingRequest]:
        """The next page of the requests that are due: those that fail, or stay due, do not hold up later ones.

        Raises:
            VestnikError: the read model cannot be read.
        """
        page = await self._deadlines.due(self._terms, self._clock(), _BATCH, after=self._after)
        self._after = page[-1] if len(page) == _BATCH else None
        return page

    async def act(self, request: PendingRequest) -> None:
        """Cancels the request or reminds of it, whichever is due; neither if it was answered meanwhile.

        Raises:
            VestnikError: it is not done, or it is unknown whether it is.
        """
        now = self._clock()
        outcome = await self._repository.execute(
            request.pair_id,
            lambda state: (
                decide_cancel_of_erased(state, request.addressee_id)
                if request.erased
                else decide_cancel(state, request.addressee_id, self._terms, now)
                or decide_remind(state, request.addressee_id, self._terms, now)
            ),
            Provenance(),
        )
        for event in outcome.events:
            act = "reminded of" if isinstance(event.data, FriendshipCreated) else "cancelled"
            log.info("%s the request of the friendship %s", act, request.pair_id)
