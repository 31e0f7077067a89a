"""Stores and reads the events of an application in stream order; notification ids are stream sequences.

JetStream assigns a sequence when it stores an event, so no event appears later with a lower id than one already read:
a reader that follows by id misses nothing.
"""

from collections.abc import Sequence

from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent

from streams.message import Message
from streams.persistence.aggregate_recorder import JetStreamAggregateRecorder
from streams.persistence.mapper import notification_of
from streams.persistence.subscription import JetStreamSubscription

_PAGE = 1_000


class JetStreamApplicationRecorder(JetStreamAggregateRecorder, ApplicationRecorder):
    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: object) -> Sequence[int]:
        """As `JetStreamAggregateRecorder.insert_events`.

        Returns:
            The notification ids, in the order of the events and without gaps.
        """
        return self._insert(stored_events, **kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events from `start` to `stop`, both included by default: all that were stored before this call."""
        first = (start or 0) if inclusive_of_start else (start or 0) + 1
        return self.bridge.call(self._select(max(first - 1, 0), limit, stop, frozenset(topics)))

    def max_notification_id(self) -> int | None:
        return self.bridge.call(self.log.last_sequence(self.every_subject)) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> JetStreamSubscription:
        """All events after an id, then each new one as it is stored.

        Raises:
            InterfaceError: the connection was closed.
        """
        return JetStreamSubscription(
            self,
            gt,
            topics,
            to_notification=self._to_notification,
            bridge=self.bridge,
            stream=self.stream,
            subject_filter=self.every_subject,
        )

    def _to_notification(self, message: Message) -> Notification:
        return notification_of(message, self.as_originator_id)

    async def _select(self, after: int, limit: int, stop: int | None, topics: frozenset[str]) -> list[Notification]:
        notifications: list[Notification] = []
        while len(notifications) < limit:
            size = min(limit - len(notifications), _PAGE) if not topics else _PAGE
            page = await self.log.read(self.every_subject, after=after, limit=size)
            for message in page:
                if len(notifications) == limit or (stop is not None and message.sequence > stop):
                    return notifications
                notification = self._to_notification(message)
                if not topics or notification.topic in topics:
                    notifications.append(notification)
            if len(page) < size:
                return notifications
            after = page[-1].sequence
        return notifications
