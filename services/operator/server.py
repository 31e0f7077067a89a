"""The operator's service over gRPC: checks that the caller is an operator and returns JSON documents."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from nats.aio.client import Client as NATS

from contracts import catalogue
from contracts.envelope import now
from contracts.errors import Invalid, NotAnOperator, NotFound, Unavailable, Violation
from contracts.positions import Position
from contracts.rpc.vestnik.operator.v1 import (
    CancelMaintenanceRequest,
    DiscardDeadLetterRequest,
    Document,
    GetAggregateRequest,
    GetDeadLetterRequest,
    GetPersonRequest,
    GetRatesRequest,
    GetReportRequest,
    GetStatusRequest,
    ListDeadLettersRequest,
    ListEventsRequest,
    ListMaintenanceRequest,
    ListReportsRequest,
    ListSessionEventsRequest,
    OperatorServiceBase,
    RetryDeadLetterRequest,
    SettleReportRequest,
    StartMaintenanceRequest,
    TraceEventRequest,
)
from contracts.subjects import STREAMS
from contracts.values.field_types import Id
from contracts.values.timestamps import bounded
from contracts.values.validation import validated
from infra.history import event_history, login_audit
from infra.operator_errors import OperatorError
from infra.security.operator_accounts import Operator, Operators
from infra.security.service_schemas import CachedSchemas
from infra.settings import Settings
from projections.engine.dead_letters.queries import NoSuchLetter
from projections.engine.storage.dead_letters import LetterId
from projections.registry import UnknownProjection
from services.operator.dead_letters.actions import DeadLetters
from services.operator.history import event_browser
from services.operator.history import login_audit as logins
from services.operator.history.aggregate_page import aggregate_page
from services.operator.history.event_trace import Trace, Tracing
from services.operator.history.queries import HistoryQueries
from services.operator.maintenance import Kind, Maintenance
from services.operator.people import People
from services.operator.queries import PersonQueries
from services.operator.rates import History, Span
from services.operator.read_models import ReadModels
from services.operator.reports import Reports
from services.operator.system_status import Status, collect_status
from streams.log import Log

log = logging.getLogger(__name__)
_MOST = 500
# Seconds for which a collected status is reused.
_STATUS_AGE = 0.9
# Aggregates read at the same time, each in a thread.
_MOST_READS = 2
_ENCODER = msgspec.json.Encoder()

Limit = Annotated[int, Meta(ge=1, le=_MOST)]


class _Page(msgspec.Struct, frozen=True):
    limit: Limit


class _Events(msgspec.Struct, frozen=True):
    limit: Limit
    aggregate_id: Annotated[str, Meta(max_length=128, pattern=r"^[^\s*>\x00]*\Z")]


class _Logins(msgspec.Struct, frozen=True):
    limit: Limit
    user: Annotated[str, Meta(max_length=64, pattern=r"^[^\x00]*\Z")]


class _Person(msgspec.Struct, frozen=True):
    user: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*\Z")]


class _Version(msgspec.Struct, frozen=True):
    limit: Limit
    version: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Place(msgspec.Struct, frozen=True):
    sequence: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class _Discard(msgspec.Struct, frozen=True):
    reason: Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*\Z")]


class _Report(msgspec.Struct, frozen=True):
    id: Id


class _Settled(msgspec.Struct, frozen=True):
    report_id: str
    outcome: str


class _Rates(msgspec.Struct, frozen=True):
    span: Span


class _Maintenance(msgspec.Struct, frozen=True):
    kind: Kind
    projection: Annotated[str, Meta(min_length=1, max_length=64)]


class OperatorServer(OperatorServiceBase):
    def __init__(
        self,
        operators: Operators,
        nc: NATS,
        log: Log,
        settings: Settings,
        maintenance: Maintenance,
        reports: Reports,
    ) -> None:
        self._operators = operators
        self._nc = nc
        self._settings = settings
        schemas = CachedSchemas(settings.database_url)
        self._letters = DeadLetters(nc, log, schemas)
        read_models = ReadModels(schemas)
        self._history = HistoryQueries(read_models)
        self._maintenance = maintenance
        self._reports = reports
        self._rates = History(nc)
        self._people = People(PersonQueries(read_models), self._history)
        self._tracing = Tracing(nc, self._history)
        self._looking = asyncio.Lock()
        # Of aggregates.
        self._reads = asyncio.Semaphore(_MOST_READS)
        self._status: tuple[float, Status] | None = None

    async def get_status(self, message: GetStatusRequest) -> Document:
        self._operator(message.user_id)
        async with self._looking:
            if self._status is None or time.monotonic() - self._status[0] > _STATUS_AGE:
                state = await collect_status(self._settings, self._nc)
                self._status = (time.monotonic(), state)
            return _document(self._status[1])

    async def get_rates(self, message: GetRatesRequest) -> Document:
        self._operator(message.user_id)
        span = validated(_Rates, {"span": message.span}).span
        return _document(await self._rates.of(span, now()))

    async def list_events(self, message: ListEventsRequest) -> Document:
        self._operator(message.user_id)
        request = validated(_Events, {"limit": message.limit, "aggregate_id": message.aggregate_id})
        if message.stream and message.stream not in STREAMS:
            raise Invalid(violations=(Violation("/stream", "Not a stream of this system"),))
        if message.type and message.type not in catalogue.EVENTS:
            raise Invalid(violations=(Violation("/type", "Not an event type of this system"),))
        query = event_history.EventQuery(
            streams=(message.stream,) if message.stream else tuple(STREAMS),
            type=message.type or None,
            aggregate_id=request.aggregate_id or None,
            since=_moment(message.since, "/since"),
            until=_moment(message.until, "/until"),
        )
        try:
            if message.after:
                after = Position.decode(message.after)
                return _document(await event_browser.events_after(self._nc, query, limit=request.limit, after=after))
            before = Position.decode(message.before) if message.before else None
            return _document(await event_browser.latest_events(self._nc, query, limit=request.limit, before=before))
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def list_session_events(self, message: ListSessionEventsRequest) -> Document:
        self._operator(message.user_id)
        request = validated(_Logins, {"limit": message.limit, "user": message.user})
        query = login_audit.Query(
            user=request.user.strip() or None,
            since=_moment(message.since, "/since"),
            until=_moment(message.until, "/until"),
            refreshes=message.refreshes,
        )
        try:
            page = await logins.newest(self._history, query, limit=request.limit, cursor=message.before)
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure
        return _document(page)

    async def get_person(self, message: GetPersonRequest) -> Document:
        operator = self._operator(message.user_id)
        user = validated(_Person, {"user": message.user.strip()}).user
        try:
            person = await self._people.find(user)
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure
        log.info("%s (%s) views the account %s", operator.username, operator.user_id, person.user_id)
        return _document(person)

    async def trace_event(self, message: TraceEventRequest) -> Document:
        self._operator(message.user_id)
        if not message.stream:
            return await self._traced(self._tracing.of_id(message.id))
        if message.stream not in STREAMS:
            raise Invalid(violations=(Violation("/stream", "Not a stream of this system"),))
        sequence = validated(_Place, {"sequence": message.sequence}).sequence
        return await self._traced(self._tracing.at(message.stream, sequence))

    async def _traced(self, trace: Awaitable[Trace]) -> Document:
        try:
            return _document(await trace)
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def get_aggregate(self, message: GetAggregateRequest) -> Document:
        operator = self._operator(message.user_id)
        request = validated(_Version, {"limit": message.limit, "version": message.version})
        kind, aggregate_id = message.kind, message.aggregate_id.lower()
        # Before the read: who asked is logged also if there is no such aggregate.
        log.info("%s (%s) asks for the %r %r", operator.username, operator.user_id, kind, aggregate_id)
        page = await aggregate_page(
            self._nc,
            kind,
            aggregate_id,
            version=request.version or None,
            at=_moment(message.at, "/at"),
            limit=request.limit,
            slots=self._reads,
        )
        return _document(page)

    async def list_dead_letters(self, message: ListDeadLettersRequest) -> Document:
        self._operator(message.user_id)
        request = validated(_Page, {"limit": message.limit})
        try:
            return _document(await self._letters.list(discarded=message.discarded, limit=request.limit))
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def get_dead_letter(self, message: GetDeadLetterRequest) -> Document:
        self._operator(message.user_id)
        try:
            return _document(await self._letters.get(_letter_id(message.id)))
        except (NoSuchLetter, UnknownProjection) as error:
            raise NotFound(str(error)) from error

    async def retry_dead_letter(self, message: RetryDeadLetterRequest) -> Document:
        operator = self._operator(message.user_id)
        try:
            return _document(await self._letters.retry(_letter_id(message.id), operator))
        except (NoSuchLetter, UnknownProjection) as error:
            raise NotFound(str(error)) from error
        except OperatorError as failure:
            raise Invalid(str(failure)) from failure

    async def discard_dead_letter(self, message: DiscardDeadLetterRequest) -> Document:
        operator = self._operator(message.user_id)
        reason = validated(_Discard, {"reason": " ".join(message.reason.split())}).reason
        try:
            return _document(await self._letters.discard(_letter_id(message.id), reason, operator))
        except (NoSuchLetter, UnknownProjection) as error:
            raise NotFound(str(error)) from error
        except OperatorError as failure:
            raise Invalid(str(failure)) from failure

    async def list_maintenance(self, message: ListMaintenanceRequest) -> Document:
        self._operator(message.user_id)
        return _document(self._maintenance.jobs())

    async def start_maintenance(self, message: StartMaintenanceRequest) -> Document:
        operator = self._operator(message.user_id)
        request = validated(_Maintenance, {"kind": message.kind, "projection": message.projection})
        try:
            return _document(self._maintenance.start(request.kind, request.projection, operator))
        except UnknownProjection as error:
            raise NotFound(str(error)) from error

    async def cancel_maintenance(self, message: CancelMaintenanceRequest) -> Document:
        operator = self._operator(message.user_id)
        return _document(self._maintenance.cancel(message.id, operator))

    async def list_reports(self, message: ListReportsRequest) -> Document:
        operator = self._operator(message.user_id)
        limit = validated(_Page, {"limit": message.limit}).limit
        page = await self._reports.list(operator, settled=message.settled, limit=limit, before=message.before)
        return Document(json=page)

    async def get_report(self, message: GetReportRequest) -> Document:
        operator = self._operator(message.user_id)
        report_id = validated(_Report, {"id": message.id}).id
        log.info("%s (%s) reads the report %s", operator.username, operator.user_id, report_id)
        return Document(json=await self._reports.get(operator, report_id))

    async def settle_report(self, message: SettleReportRequest) -> Document:
        operator = self._operator(message.user_id)
        report_id = validated(_Report, {"id": message.id}).id
        await self._reports.settle(operator, report_id, message.outcome, message.note)
        log.info("%s (%s) settled the report %s: %s", operator.username, operator.user_id, report_id, message.outcome)
        return _document(_Settled(report_id, message.outcome))

    def _operator(self, user_id: str) -> Operator:
        """Returns the calling operator; the service token names this user (contracts/services.py).

        Raises:
            NotAnOperator: the user is not an operator, or the list of operators cannot be read.
        """
        try:
            operator = self._operators.find(user_id)
        except OperatorError as failure:
            log.error("%s", failure)
            raise NotAnOperator from failure
        if operator is None:
            raise NotAnOperator
        return operator


def _document(content: msgspec.Struct) -> Document:
    return Document(json=_ENCODER.encode(content))


def _letter_id(text: str) -> LetterId:
    try:
        return LetterId.parse(text)
    except ValueError as error:
        raise Invalid(violations=(Violation("/id", "Not the id of a dead letter"),)) from error


def _moment(text: str, path: str) -> datetime | None:
    if not text:
        return None
    try:
        return bounded(datetime.fromisoformat(text))
    except ValueError as error:
        raise Invalid(violations=(Violation(path, "Not a time (RFC 3339)"),)) from error
