"""Traces one event: where it is stored, and its state in each read model of its stream.

For a message also whether the two people are friends, whether there is a notification, and whether it was seen. Its
text is never shown.
"""

import asyncio
from datetime import datetime, timedelta

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import NotFound, Unavailable
from contracts.events.message import MessageSent
from contracts.positions import Position
from contracts.subjects import STREAMS, passes
from contracts.values.ids import is_id, made_at, notification_id
from infra.history.event_history import EventQuery, EventView, to_view
from infra.operator_errors import OperatorError
from projections.engine.dead_letters import queries as kept_letters
from projections.engine.dead_letters.queries import DeadLetterFilter
from projections.engine.projection import Projection
from projections.registry import choose
from services.operator.dead_letters.views import Letter, of_discard
from services.operator.history import event_browser
from services.operator.history.queries import Checkpoint, HistoryQueries, Notification
from services.operator.redaction import redact
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed

_PATIENCE = 5.0
# Search window around an id's time: clocks differ, and a command may be retried for seconds.
_BEFORE, _AFTER = timedelta(seconds=5), timedelta(minutes=1)
# Events per page of a search, and the maximum number of pages.
_PAGE, _PAGES = 50, 4


class ReadModelState(msgspec.Struct, frozen=True, kw_only=True):
    """State of the event in one read model of its stream."""

    projection: str
    version: int
    # None if it has not been built yet.
    build: int | None
    # `applied`; `ignored`: read, but events of this type have no handler; `waiting`: not read yet; `failed`, `parked`
    # (behind a failed one of its aggregate), `discarded`: dead letters; `missing`: the read model is not built.
    state: str
    # Its checkpoint in the stream, and when that last advanced.
    checkpoint: int | None
    checkpoint_at: datetime | None
    # Its dead letters of the event's aggregate, discarded ones included.
    letters: list[Letter]


class MessageState(msgspec.Struct, frozen=True, kw_only=True):
    """Delivery state of a message."""

    message_id: str
    sender_id: str
    recipient_id: str
    # Within the conversation.
    sequence: int
    # Whether it is among the conversation's messages.
    stored: bool
    # Whether the two are friends now; otherwise neither sees the conversation.
    open: bool | None
    notification: Notification | None
    seen_at: datetime | None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    event: EventView
    stored_at: datetime | None
    read_models: list[ReadModelState]
    # None if the event is not a message.
    message: MessageState | None


class Tracing:
    def __init__(self, nc: NATS, queries: HistoryQueries) -> None:
        self._nc = nc
        self._jetstream = JetStream(nc, patience=_PATIENCE)
        self._queries = queries

    async def of_id(self, identifier: str) -> Trace:
        """Traces the event with this id, or the event of the message with this id.

        Raises:
            NotFound: there is none.
            Unavailable: NATS or the database does not answer.
        """
        event_id = identifier.strip().lower()
        position = await self._search(event_id) if is_id(event_id) else None
        if position is None:
            raise NotFound("There is no event or message of this id.")
        return await self.at(*position)

    async def at(self, stream: str, sequence: int) -> Trace:
        """Traces the event at a sequence of a stream.

        Raises:
            NotFound: there is none.
            Unavailable: NATS or the database does not answer, or the stored message is not an event.
        """
        try:
            message = await self._jetstream.at(stream, sequence)
        except (RequestFailed, Refused) as failure:
            raise Unavailable("The stream cannot be read at the moment.") from failure
        if message is None:
            raise NotFound(f"{stream} has no event at {sequence}.")
        try:
            event = to_view(message, message.envelope(), raw=False)
        except (msgspec.DecodeError, OperatorError) as error:
            raise Unavailable(f"The event at {sequence} of {stream} cannot be shown: {error}") from error
        discards = await kept_letters.discarded(self._nc, DeadLetterFilter(aggregate_id=event.aggregate_id))
        given_up = [of_discard(item) for item in discards]
        read_models, became = await asyncio.gather(
            asyncio.gather(*(self._state(item, event, given_up) for item in choose(()) if _reads(item, event))),
            self._message(event),
        )
        return Trace(event=redact(event), stored_at=message.stored_at, read_models=list(read_models), message=became)

    async def _search(self, identifier: str) -> tuple[str, int] | None:
        """Finds the event or message with the id, around the time that the id contains."""
        try:
            created = made_at(identifier)
            query = EventQuery(
                streams=tuple(STREAMS), since=created - _BEFORE, until=created + _AFTER, mentions=identifier
            )
        except (OverflowError, ValueError):
            return None
        before: Position | None = None
        for _ in range(_PAGES):
            events = await event_browser.latest_events(self._nc, query, limit=_PAGE, before=before)
            for event in events.items:
                if identifier in (event.id, _data(event).get("message_id")):
                    return event.stream, event.sequence
            if events.older is None:
                return None
            before = Position.decode(events.older)
        return None

    async def _state(self, projection: type[Projection], event: EventView, given_up: list[Letter]) -> ReadModelState:
        reached, waiting = await asyncio.gather(
            self._queries.checkpoint(projection, event.stream), self._queries.letters_of(projection, event.aggregate_id)
        )
        own = [
            letter
            for letter in (*waiting, *given_up)
            if (letter.projection, letter.version) == (projection.name, projection.version)
            and letter.subject == event.subject
        ]
        return ReadModelState(
            projection=projection.name,
            version=projection.version,
            build=reached.build if reached else None,
            state=_word(projection, event, reached, own),
            checkpoint=reached.sequence if reached else None,
            checkpoint_at=reached.updated_at if reached else None,
            letters=own,
        )

    async def _message(self, event: EventView) -> MessageState | None:
        data = _data(event)
        if event.type != MessageSent.TYPE or not data.keys() >= {"message_id", "sender_id", "recipient_id", "sequence"}:
            return None
        message_id, sender, recipient, sequence = (
            data[name] for name in ("message_id", "sender_id", "recipient_id", "sequence")
        )
        row, notification = await asyncio.gather(
            self._queries.message(event.aggregate_id, int(sequence), sender, recipient),
            self._queries.notification(recipient, notification_id(recipient, event.id)),
        )
        return MessageState(
            message_id=message_id,
            sender_id=sender,
            recipient_id=recipient,
            sequence=int(sequence),
            stored=row.stored,
            open=row.open,
            notification=notification,
            seen_at=row.seen_at,
        )


def _reads(projection: type[Projection], event: EventView) -> bool:
    filters = projection.filters()
    return event.stream in filters and (
        filters[event.stream] is None or passes(event.subject, filters[event.stream] or "")
    )


def _word(projection: type[Projection], event: EventView, reached: Checkpoint | None, letters: list[Letter]) -> str:
    letter = next((candidate for candidate in letters if candidate.sequence == event.sequence), None)
    if letter is not None:
        return letter.state
    if reached is None:
        return "missing"
    if reached.sequence < event.sequence:
        return "waiting"
    return "applied" if event.type in projection().handlers() else "ignored"


def _data(event: EventView) -> dict[str, str]:
    """The event's data; empty if it is private."""
    fields = msgspec.json.decode(event.data)
    return fields if isinstance(fields, dict) else {}
