"""Events, aggregates and people: each answer is a look, recorded first."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated

import msgspec
from msgspec import Meta
from nats.aio.client import Client as NATS

from contracts import catalogue
from contracts.errors import Invalid, Unavailable, Violation
from contracts.positions import Position
from contracts.rpc.vestnik.operator.v1 import (
    Document,
    GetAggregateRequest,
    GetPersonRequest,
    ListEventsRequest,
    TraceEventRequest,
)
from contracts.subjects import STREAMS
from contracts.values.ids import is_id
from contracts.values.validation import validated
from infra.history import event_history
from infra.operator_errors import OperatorError
from services.operator.actions.domain import UNKNOWN_NAME, Actor, recorded_id
from services.operator.actions.recorder import Recorder
from services.operator.handlers.documents import Limit, as_text, document, moment
from services.operator.history import event_browser
from services.operator.history.aggregate_page import aggregate_page, check
from services.operator.history.event_trace import Trace, Tracing
from services.operator.history.queries import HistoryQueries
from services.operator.people import People
from services.operator.queries import PersonQueries
from services.operator.read_models import ReadModels

# Aggregates read at the same time, each in a thread.
_MOST_READS = 2


class _Events(msgspec.Struct, frozen=True):
    limit: Limit
    # Tokens of a subject; empty for every aggregate.
    aggregate_id: Annotated[str, Meta(max_length=128, pattern=r"^([^\s*>.\x00]+(\.[^\s*>.\x00]+)*)?\Z")]


class _Person(msgspec.Struct, frozen=True):
    user: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*\Z")]


class _Version(msgspec.Struct, frozen=True):
    limit: Limit
    version: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _AtSequence(msgspec.Struct, frozen=True):
    sequence: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class HistoryHandlers:
    def __init__(self, nc: NATS, read_models: ReadModels, recorder: Recorder) -> None:
        self._nc = nc
        self._recorder = recorder
        self._history = HistoryQueries(read_models)
        self._people = People(PersonQueries(read_models), self._history)
        self._tracing = Tracing(nc, self._history)
        # Of aggregates.
        self._reads = asyncio.Semaphore(_MOST_READS)

    async def events(self, message: ListEventsRequest, actor: Actor) -> Document:
        request = validated(_Events, {"limit": message.limit, "aggregate_id": message.aggregate_id})
        if message.stream and message.stream not in STREAMS:
            raise Invalid(violations=(Violation("/stream", "Not a stream of this system"),))
        if message.type and message.type not in catalogue.EVENTS:
            raise Invalid(violations=(Violation("/type", "Not an event type of this system"),))
        query = event_history.EventQuery(
            streams=(message.stream,) if message.stream else tuple(STREAMS),
            type=message.type or None,
            aggregate_id=request.aggregate_id or None,
            since=moment(message.since, "/since"),
            until=moment(message.until, "/until"),
        )
        after = Position.decode(message.after) if message.after else None
        before = Position.decode(message.before) if message.before else None
        looked_for = {
            "stream": message.stream,
            "type": message.type,
            "since": as_text(query.since),
            "until": as_text(query.until),
        }
        await self._recorder.look(actor, "events", target=recorded_id(request.aggregate_id), filter_=looked_for)
        try:
            if after is not None:
                return document(await event_browser.events_after(self._nc, query, limit=request.limit, after=after))
            return document(await event_browser.latest_events(self._nc, query, limit=request.limit, before=before))
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def person(self, message: GetPersonRequest, actor: Actor) -> Document:
        user = validated(_Person, {"user": message.user.strip()}).user
        try:
            recorded = await self._people.id_of(user) or UNKNOWN_NAME
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure
        await self._recorder.look(actor, "person", filter_={"user": recorded})
        try:
            return document(await self._people.find(user))
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def trace(self, message: TraceEventRequest, actor: Actor) -> Document:
        if not message.stream:
            identifier = message.id.strip().lower()
            if is_id(identifier):
                await self._recorder.look(actor, "trace", filter_={"id": identifier})
            # What is no id finds nothing; it may be a person's name, which no look keeps.
            return await self._traced(self._tracing.of_id(identifier))
        if message.stream not in STREAMS:
            raise Invalid(violations=(Violation("/stream", "Not a stream of this system"),))
        sequence = validated(_AtSequence, {"sequence": message.sequence}).sequence
        await self._recorder.look(actor, "trace", filter_={"stream": message.stream, "sequence": str(sequence)})
        return await self._traced(self._tracing.at(message.stream, sequence))

    async def _traced(self, trace: Awaitable[Trace]) -> Document:
        try:
            return document(await trace)
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def aggregate(self, message: GetAggregateRequest, actor: Actor) -> Document:
        request = validated(_Version, {"limit": message.limit, "version": message.version})
        kind, aggregate_id = message.kind, message.aggregate_id.lower()
        version, at = request.version or None, moment(message.at, "/at")
        # Before the look, which is kept: what is no id may be a person's name.
        check(kind, aggregate_id, version=version, at=at)
        # Before the read: who asked is recorded also if there is no such aggregate.
        await self._recorder.look(actor, "aggregate", target=aggregate_id, filter_={"kind": kind})
        page = await aggregate_page(
            self._nc,
            kind,
            aggregate_id,
            version=version,
            at=at,
            limit=request.limit,
            slots=self._reads,
        )
        return document(page)
