"""Deletes messages that are older than the operator keeps them, while the service runs.

Each is deleted by an event of its own, as its sender would delete it: read models, caches and clients need no other
rule. The event's condition is the message's stream, so replicas may sweep at the same time.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import DecodeError

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import VestnikError
from contracts.values.ids import first_id_at
from services.messaging.changes.domain import Message, OriginalMessage, decide_expire
from services.messaging.retention.queries import AgedMessage, AgedMessageQueries
from streams.reactions.retention_progress import RetentionProgress
from streams.repository import BrokenHistory, Repository

log = logging.getLogger(__name__)
# Seconds between two sweeps, at most.
_EVERY = 600.0
# Sweeps within the time for which messages are kept.
_SWEEPS_WITHIN = 20
_PAGE = 1_000
# Deletions under way at a time: the log appends those of a moment together.
_AT_ONCE = 32
_FIRST = "00000000-0000-0000-0000-000000000000"


class MessageRetention:
    def __init__(
        self,
        messages: Repository[Message],
        queries: AgedMessageQueries,
        keep: timedelta,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`messages`: of the message aggregate; its last event is enough. `keep`: how long messages are kept."""
        self._messages = messages
        self._queries = queries
        self._keep = keep
        self._clock = clock
        self._progress = RetentionProgress("messages")
        # Of the present sweep.
        self._failed = 0

    async def run(self) -> None:
        """Deletes what is due until cancelled."""
        while True:
            await asyncio.sleep(min(_EVERY, self._keep.total_seconds() / _SWEEPS_WITHIN))
            try:
                if deleted := await self.sweep():
                    log.info("%d messages were older than they are kept, and were deleted", deleted)
            except VestnikError as error:
                log.warning("messages that are due to be deleted cannot be read: %s", error)
                self._progress.swept(complete=False)

    async def sweep(self) -> int:
        """Deletes what is due now; returns how many messages.

        Raises:
            VestnikError: the read model cannot be read.
        """
        self._failed = 0
        before, after, deleted = first_id_at(self._clock() - self._keep), _FIRST, 0
        while page := await self._queries.page(after, before, _PAGE):
            for start in range(0, len(page), _AT_ONCE):
                deleted += sum(await asyncio.gather(*map(self._expire, page[start : start + _AT_ONCE])))
            # One whose deletion failed is left for the next sweep.
            after = page[-1].message_id
        self._progress.swept(complete=self._failed == 0)
        return deleted

    async def _expire(self, message: AgedMessage) -> bool:
        """Whether this call has deleted the message."""
        members = {message.sender_id} if message.peer_id is None else {message.sender_id, message.peer_id}
        original = OriginalMessage(
            message_id=message.message_id,
            conversation_id=message.conversation_id,
            sequence=message.sequence,
            sender_id=message.sender_id,
            sent_at=message.sent_at,
            members=tuple(sorted(members)),
            text="",
        )
        try:
            result = await self._messages.execute(
                message.message_id, lambda state: decide_expire(state, original), Provenance()
            )
        except (VestnikError, BrokenHistory, DecodeError, LookupError) as error:
            log.warning("the message %s was not deleted: %r", message.message_id, error)
            self._failed += 1
            return False
        return bool(result.events)
