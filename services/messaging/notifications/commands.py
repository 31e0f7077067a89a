"""Load, decide, append: marks notifications as read."""

from collections.abc import Awaitable, Callable, Iterable

from contracts.errors import Overloaded
from contracts.events.event import Event
from contracts.events.message import MessagesRead
from contracts.positions import Position
from contracts.subjects import MESSAGING, notifications
from infra.rpc.call_context import Call
from services.messaging.commands import TRIES
from services.messaging.domain import Notifications, decide_read, decide_read_through, evolve_notifications
from services.messaging.notifications.queries import MessageRow, NotificationQueries
from streams.log import Conflict, Log
from streams.repository import Repository


class NotificationCommands:
    def __init__(self, log: Log, queries: NotificationQueries) -> None:
        self._queries = queries
        self._notifications: Repository[Notifications] = Repository(
            log,
            subject=notifications,
            initial=Notifications(),
            evolve=evolve_notifications,
            tail_only=True,
        )

    async def mark_read(self, user_id: str, notification_ids: tuple[str, ...], call: Call) -> int:
        """Marks the user's notifications as read, each once. Returns the sequence of the last such event in MESSAGING.

        Raises:
            ReadModelBehind: it cannot be determined now which ones are read already.
            Overloaded: too many conflicts.
        """

        async def decide(position: Position) -> tuple[Event, ...]:
            return decide_read(notification_ids, await self._queries.unread(user_id, notification_ids, position))

        return await self._append(user_id, decide, call)

    async def mark_read_by_conversation(self, user_id: str, notification_ids: tuple[str, ...], call: Call) -> int:
        """As `mark_read`; with the notification of a message also those of all earlier ones from the same person."""

        async def decide(position: Position) -> tuple[Event, ...]:
            unread = await self._queries.unread(user_id, notification_ids, position)
            messages = await self._queries.of_messages(user_id, notification_ids)
            others = unread - {message.notification_id for message in messages}
            return decide_read(notification_ids, others, _latest_of_each(messages))

        return await self._append(user_id, decide, call)

    async def mark_read_through(self, user_id: str, notification_id: str, call: Call) -> int:
        """Marks the user's notification and all listed below it as read; returns as `mark_read`.

        Those listed above it stay unread. Notifications are listed by time, so a later one is below it only if the
        clock of the process that created it is behind.

        Raises:
            ReadModelBehind: it cannot be determined now which ones are read already.
            Overloaded: too many conflicts.
        """

        async def decide(position: Position) -> tuple[Event, ...]:
            at = await self._queries.unread_through(user_id, notification_id, position)
            return decide_read_through(notification_id, at)

        return await self._append(user_id, decide, call)

    async def _append(
        self, user_id: str, decide: Callable[[Position], Awaitable[tuple[Event, ...]]], call: Call
    ) -> int:
        async with self._notifications.lock(user_id) as editing:
            await editing.refresh()
            for _ in range(TRIES):
                # Waits for every earlier mark in the read model, so that nothing is marked twice.
                events = await decide(call.position.merge(Position.at(MESSAGING, editing.sequence)))
                if not events:
                    # A concurrent call may have marked them between the two reads: the result has to cover that.
                    await editing.refresh()
                    return editing.sequence
                try:
                    return (await editing.append(events, call.provenance())).sequence
                except Conflict:
                    await editing.refresh()
        raise Overloaded


def _latest_of_each(messages: Iterable[MessageRow]) -> tuple[MessagesRead, ...]:
    """The latest message of each sender whose notification is not read together with earlier ones."""
    latest: dict[str, MessageRow] = {}
    for message in messages:
        known = latest.get(message.from_user_id)
        if message.sequence > (message.read_through if known is None else known.sequence):
            latest[message.from_user_id] = message
    return tuple(
        MessagesRead(
            notification_id=message.notification_id, from_user_id=message.from_user_id, sequence=message.sequence
        )
        for message in latest.values()
    )
