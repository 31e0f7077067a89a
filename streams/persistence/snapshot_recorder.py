"""Stores and reads snapshots: like events, but of any version of the aggregate, in any order, each version once."""

import asyncio
from collections.abc import Sequence

from eventsourcing.persistence import IntegrityError, StoredEvent

from streams.message import Message
from streams.persistence.aggregate_recorder import JetStreamAggregateRecorder


class JetStreamSnapshotRecorder(JetStreamAggregateRecorder):
    """Reads all snapshots of an aggregate each time, since two processes may take theirs in any order."""

    async def _append(self, events: Sequence[StoredEvent]) -> list[int]:
        subjects = [self._subject(event.originator_id) for event in events]
        different = list(dict.fromkeys(subjects))
        stored = dict(
            zip(different, await asyncio.gather(*(self.log.read(subject) for subject in different)), strict=True)
        )
        taken = {(subject, message.envelope().version) for subject in different for message in stored[subject]}
        for subject, event in zip(subjects, events, strict=True):
            if (subject, event.originator_version) in taken:
                raise IntegrityError(f"there is already a snapshot of version {event.originator_version} on {subject}")
            taken.add((subject, event.originator_version))
        expected = {subject: messages[-1].sequence if messages else 0 for subject, messages in stored.items()}
        return await self._store(expected, subjects, events)

    async def _read(self, subject: str, gt: int | None, *, newest_alone: bool) -> list[Message]:
        return await self.log.read(subject)
