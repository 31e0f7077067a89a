"""Routes of the operators' page; the operator's service refuses other accounts."""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from contracts.errors import (
    MaintenanceUnderWay,
    NotAnOperator,
    NotFound,
    ReauthenticationRequired,
    ReportSettled,
    SecondFactorRequired,
    SessionNotFound,
    VestnikError,
)
from contracts.rpc.vestnik.operator.v1 import (
    CancelMaintenanceRequest,
    DiscardDeadLetterRequest,
    Document,
    EndSessionRequest,
    GetAggregateRequest,
    GetDeadLetterRequest,
    GetPersonRequest,
    GetRatesRequest,
    GetReportRequest,
    GetStatusRequest,
    ListAnomaliesRequest,
    ListDeadLettersRequest,
    ListEventsRequest,
    ListMaintenanceRequest,
    ListOperatorActionsRequest,
    ListReportsRequest,
    ListSessionEventsRequest,
    OperatorServiceStub,
    RetryDeadLetterRequest,
    SettleReportRequest,
    StartMaintenanceRequest,
    TraceEventRequest,
)
from contracts.values.field_types import Id, ReportNote, ReportOutcome
from infra.rpc.call_context import ClientSession, enter
from services.gateway.clients import ServiceClient
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    Handler,
    NoBody,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies
from services.gateway.routes.operators.schemas import (
    AggregateVersions,
    Anomalies,
    DeadLetterAndEvent,
    DeadLetters,
    EndedSession,
    EventTrace,
    Maintenance,
    MaintenanceJob,
    OperatorActions,
    PersonSeen,
    Reports,
    ReportTexts,
    SessionEvents,
    SettledLetter,
    SettledReport,
    StreamEvents,
    StreamHistory,
    SystemStatus,
)

B = TypeVar("B")
Q = TypeVar("Q")
S = TypeVar("S", bound=msgspec.Struct)
Limit = Annotated[int, Meta(ge=1, le=500, description="Maximum number of items.")]
LetterId = Annotated[str, Meta(min_length=1, max_length=200, description="As `conversations.v1.b2.MESSAGING.17`.")]
_TAG = "Operators"
_WHO = (
    "Only for accounts added with `vestnik operators add`, after a login with a second factor in the last 12 hours "
    "(`VESTNIK_OPERATOR_TOTP`), and if they looked at or did something in the last 30 minutes. "
)
_UNATTENDED = "Vestnik-Unattended"


Since = Annotated[str, Meta(max_length=40, description="RFC 3339: from this time on.")]
Until = Annotated[str, Meta(max_length=40, description="RFC 3339: before this time.")]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 50
    stream: Annotated[str, Meta(max_length=32, description="Only this stream.")] = ""
    type: Annotated[str, Meta(max_length=64, description="Only events of this type.")] = ""
    aggregate_id: Annotated[str, Meta(max_length=128, description="Only events of this aggregate.")] = ""
    since: Since = ""
    until: Until = ""
    before: Annotated[str, Meta(max_length=256, description="`older` of the previous page.")] = ""
    after: Annotated[str, Meta(max_length=256, description="`newer` of the previous page: events since then.")] = ""


class LoginsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    user: Annotated[str, Meta(max_length=64, description="Only this user: a username or an id.")] = ""
    since: Since = ""
    until: Until = ""
    refreshes: Annotated[bool, Meta(description="Refreshes too.")] = False
    failures: Annotated[bool, Meta(description="Failed logins too.")] = False
    address: Annotated[str, Meta(max_length=64, description="Only from this IP address or network.")] = ""
    device: Annotated[str, Meta(max_length=100, description="Only devices whose description contains this.")] = ""
    reason: Annotated[
        str, Meta(max_length=32, description="Only ends, and failed logins, for this reason; `operator`: any operator.")
    ] = ""
    session: Annotated[str, Meta(max_length=36, description="Only this session.")] = ""
    before: Annotated[str, Meta(max_length=256, description="`older` of the previous page.")] = ""


class OperatorsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    operator: Annotated[
        str, Meta(max_length=80, description="Only this operator: a username, a login name or an account's id.")
    ] = ""
    action: Annotated[str, Meta(max_length=64, description="Only this act or look, such as `sessions.revoke`.")] = ""
    only: Annotated[
        Literal["", "acts", "looks"], Meta(description="Only what was done, or only what was looked at.")
    ] = ""
    since: Since = ""
    until: Until = ""
    before: Annotated[str, Meta(max_length=256, description="`older` of the previous page.")] = ""


class PersonQuery(msgspec.Struct, frozen=True, kw_only=True):
    user: Annotated[str, Meta(min_length=1, max_length=64, description="A username or an id.")]


class TraceQuery(msgspec.Struct, frozen=True, kw_only=True):
    id: Annotated[str, Meta(max_length=64, description="The id of an event or of a message.")] = ""
    stream: Annotated[str, Meta(max_length=32, description="Instead of an id: the event's stream, and")] = ""
    sequence: Annotated[int, Meta(ge=0, le=2**63 - 1, description="its place there.")] = 0


class AggregateQuery(msgspec.Struct, frozen=True, kw_only=True):
    kind: Annotated[str, Meta(min_length=1, max_length=32, description="As in the subject: `friendship`.")]
    id: Annotated[str, Meta(min_length=1, max_length=128, description="The end of its subject.")]
    version: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Up to this one; 0 for the newest.")] = 0
    at: Annotated[str, Meta(max_length=40, description="RFC 3339: instead, up to this time.")] = ""
    limit: Annotated[int, Meta(ge=1, le=100, description="How many at most.")] = 20


class RatesQuery(msgspec.Struct, frozen=True, kw_only=True):
    span: Annotated[Literal["day", "week"], Meta(description="The last 24 hours, or 7 days.")] = "day"


class DeadLettersQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    discarded: Annotated[bool, Meta(description="Discarded dead letters instead of pending ones.")] = False


class LetterQuery(msgspec.Struct, frozen=True, kw_only=True):
    id: LetterId


class AnomaliesQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    rule: Annotated[str, Meta(max_length=64, description="Only those that this rule found.")] = ""
    since: Since = ""
    until: Until = ""
    before: Annotated[str, Meta(max_length=1024, description="`older` of the previous page.")] = ""


class ReportsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 50
    settled: Annotated[bool, Meta(description="Settled reports instead of open ones.")] = False
    before: Annotated[str, Meta(max_length=256, description="`older` of the previous page.")] = ""


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    id: Id


class SettleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    outcome: Annotated[ReportOutcome, Meta(description="`upheld`: against the reported user; `dismissed`: not.")]
    note: ReportNote = ""


class EndSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session_id: Id
    reason: Annotated[
        str, Meta(min_length=1, max_length=200, description="Recorded permanently, with the operator's name.")
    ]


class RetryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: LetterId


class DiscardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: LetterId
    reason: Annotated[str, Meta(min_length=1, max_length=1000, description="The reason; recorded permanently.")]


class Starting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[Literal["verify", "rebuild"], Meta(description="What to do.")]
    projection: Annotated[str, Meta(min_length=1, max_length=64, description="The read model.")]


class Cancelling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1, max_length=64)]


async def status(incoming: Request[NoQuery, NoBody]) -> Response:
    operator = _operator(incoming)
    request = GetStatusRequest(user_id=incoming.caller.user_id)
    return _reply(await operator.command(operator.stub.get_status, request, repeatable=True), SystemStatus)


async def rates(incoming: Request[RatesQuery, NoBody]) -> Response:
    operator = _operator(incoming)
    request = GetRatesRequest(user_id=incoming.caller.user_id, span=incoming.query.span)
    return _reply(await operator.command(operator.stub.get_rates, request, repeatable=True), StreamHistory)


async def events(incoming: Request[EventsQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = ListEventsRequest(
        user_id=incoming.caller.user_id,
        stream=query.stream.upper(),
        type=query.type,
        aggregate_id=query.aggregate_id,
        limit=query.limit,
        before=query.before,
        after=query.after,
        since=query.since,
        until=query.until,
    )
    return _reply(await operator.read(operator.stub.list_events, request), StreamEvents)


async def session_events(incoming: Request[LoginsQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = ListSessionEventsRequest(
        user_id=incoming.caller.user_id,
        user=query.user,
        since=query.since,
        until=query.until,
        refreshes=query.refreshes,
        limit=query.limit,
        before=query.before,
        failures=query.failures,
        address=query.address,
        device=query.device,
        reason=query.reason,
        session_id=query.session,
    )
    return _reply(await operator.command(operator.stub.list_session_events, request, repeatable=True), SessionEvents)


async def end_session(incoming: Request[NoQuery, EndSession]) -> Response:
    operator, body = _operator(incoming), incoming.body
    request = EndSessionRequest(user_id=incoming.caller.user_id, session_id=body.session_id, reason=body.reason)
    return _reply(await operator.command(operator.stub.end_session, request, repeatable=False), EndedSession)


async def operators(incoming: Request[OperatorsQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = ListOperatorActionsRequest(
        user_id=incoming.caller.user_id,
        operator=query.operator,
        action=query.action,
        only=query.only,
        since=query.since,
        until=query.until,
        limit=query.limit,
        before=query.before,
    )
    return _reply(
        await operator.command(operator.stub.list_operator_actions, request, repeatable=True), OperatorActions
    )


async def person(incoming: Request[PersonQuery, NoBody]) -> Response:
    operator = _operator(incoming)
    request = GetPersonRequest(user_id=incoming.caller.user_id, user=incoming.query.user)
    return _reply(await operator.command(operator.stub.get_person, request, repeatable=True), PersonSeen)


async def event(incoming: Request[TraceQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = TraceEventRequest(
        user_id=incoming.caller.user_id, id=query.id, stream=query.stream.upper(), sequence=query.sequence
    )
    return _reply(await operator.command(operator.stub.trace_event, request, repeatable=True), EventTrace)


async def aggregate(incoming: Request[AggregateQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = GetAggregateRequest(
        user_id=incoming.caller.user_id,
        kind=query.kind,
        aggregate_id=query.id,
        version=query.version,
        at=query.at,
        limit=query.limit,
    )
    return _reply(await operator.command(operator.stub.get_aggregate, request, repeatable=True), AggregateVersions)


async def dead_letters(incoming: Request[DeadLettersQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = ListDeadLettersRequest(user_id=incoming.caller.user_id, discarded=query.discarded, limit=query.limit)
    return _reply(await operator.read(operator.stub.list_dead_letters, request), DeadLetters)


async def dead_letter(incoming: Request[LetterQuery, NoBody]) -> Response:
    operator = _operator(incoming)
    request = GetDeadLetterRequest(user_id=incoming.caller.user_id, id=incoming.query.id)
    return _reply(await operator.read(operator.stub.get_dead_letter, request), DeadLetterAndEvent)


async def retry(incoming: Request[NoQuery, RetryRequest]) -> Response:
    operator = _operator(incoming)
    request = RetryDeadLetterRequest(user_id=incoming.caller.user_id, id=incoming.body.id)
    return _reply(await operator.command(operator.stub.retry_dead_letter, request, repeatable=False), SettledLetter)


async def discard(incoming: Request[NoQuery, DiscardRequest]) -> Response:
    operator = _operator(incoming)
    request = DiscardDeadLetterRequest(
        user_id=incoming.caller.user_id, id=incoming.body.id, reason=incoming.body.reason
    )
    return _reply(await operator.command(operator.stub.discard_dead_letter, request, repeatable=False), SettledLetter)


async def anomalies(incoming: Request[AnomaliesQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = ListAnomaliesRequest(
        user_id=incoming.caller.user_id,
        rule=query.rule,
        since=query.since,
        until=query.until,
        limit=query.limit,
        before=query.before,
    )
    return _reply(await operator.command(operator.stub.list_anomalies, request, repeatable=True), Anomalies)


async def reports(incoming: Request[ReportsQuery, NoBody]) -> Response:
    operator, query = _operator(incoming), incoming.query
    request = ListReportsRequest(
        user_id=incoming.caller.user_id, settled=query.settled, limit=query.limit, before=query.before
    )
    return _reply(await operator.read(operator.stub.list_reports, request), Reports)


async def report(incoming: Request[ReportQuery, NoBody]) -> Response:
    operator = _operator(incoming)
    request = GetReportRequest(user_id=incoming.caller.user_id, id=incoming.query.id)
    return _reply(await operator.command(operator.stub.get_report, request, repeatable=True), ReportTexts)


async def settle(incoming: Request[NoQuery, SettleRequest]) -> Response:
    operator, body = _operator(incoming), incoming.body
    request = SettleReportRequest(user_id=incoming.caller.user_id, id=body.id, outcome=body.outcome, note=body.note)
    return _reply(await operator.command(operator.stub.settle_report, request, repeatable=True), SettledReport)


async def maintenance(incoming: Request[NoQuery, NoBody]) -> Response:
    operator = _operator(incoming)
    request = ListMaintenanceRequest(user_id=incoming.caller.user_id)
    return _reply(await operator.read(operator.stub.list_maintenance, request), Maintenance)


async def start(incoming: Request[NoQuery, Starting]) -> Response:
    operator, body = _operator(incoming), incoming.body
    request = StartMaintenanceRequest(user_id=incoming.caller.user_id, kind=body.kind, projection=body.projection)
    return _reply(await operator.command(operator.stub.start_maintenance, request, repeatable=False), MaintenanceJob)


async def cancel(incoming: Request[NoQuery, Cancelling]) -> Response:
    operator = _operator(incoming)
    request = CancelMaintenanceRequest(user_id=incoming.caller.user_id, id=incoming.body.id)
    return _reply(await operator.command(operator.stub.cancel_maintenance, request, repeatable=True), MaintenanceJob)


def _operator(incoming: Request[Q, B]) -> ServiceClient[OperatorServiceStub]:
    """The client of the operator's service, whose calls for this request then carry the caller's session and address.

    Raises:
        NotFound: this deployment has no operators' page.
    """
    operator = incoming.context.remotes.operator
    if operator is None:
        raise NotFound
    caller = incoming.caller
    session = ClientSession(
        session_id=caller.session_id,
        address=incoming.address,
        logged_in_at=caller.logged_in_at,
        second_factor=caller.second_factor,
        unattended=_UNATTENDED in incoming.headers,
    )
    enter(msgspec.structs.replace(incoming.call, session=session))
    return operator


def _reply(document: Document, kind: type[S]) -> Response:
    """Converts the document to its schema; fields outside the schema are left out."""
    return Response(body=msgspec.json.decode(document.json, type=kind))


def _route(
    method: str,
    path: str,
    summary: str,
    handler: Handler[Q, B],
    query: type[Q],
    body: type[B],
    answer: type[msgspec.Struct],
    description: str = "",
    errors: tuple[type[VestnikError], ...] = (),
) -> Endpoint[Q, B]:
    return Endpoint(
        method=method,
        path=f"/v1/ops/{path}",
        tag=_TAG,
        summary=summary,
        description=_WHO + description,
        handler=handler,
        query=query,
        body=body,
        answers={200: DocumentedResponse(description=f"{summary}.", body=answer)},
        errors=(NotAnOperator, SecondFactorRequired, ReauthenticationRequired, NotFound, *errors),
        request_headers=(_UNATTENDED,),
        limits=(AppliedLimit(limit=policies.READ_ADDRESS), AppliedLimit(limit=policies.OPS)),
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    _route("GET", "status", "Streams, projections and services", status, NoQuery, NoBody, SystemStatus),
    _route(
        "GET",
        "rates",
        "Events per stream over the last day or week",
        rates,
        RatesQuery,
        NoBody,
        StreamHistory,
        "In steps of half an hour or six hours, counted from the streams; the last step is incomplete.",
    ),
    _route(
        "GET",
        "events",
        "Events of the streams",
        events,
        EventsQuery,
        NoBody,
        StreamEvents,
        "Newest first. Private events have no data, and personal fields are redacted.",
    ),
    _route(
        "GET",
        "session-events",
        "Who logged in, and how sessions ended",
        session_events,
        LoginsQuery,
        NoBody,
        SessionEvents,
        "Newest first, from the read models `session_audit` and `login_failures`; `vestnik audit sessions` reads the "
        "streams. Each view is recorded with its operator.",
    ),
    _route(
        "POST",
        "sessions/end",
        "The ended session",
        end_session,
        NoQuery,
        EndSession,
        EndedSession,
        "All gateways refuse its tokens within a second. Recorded with the reason and the operator's name.",
        (SessionNotFound,),
    ),
    _route(
        "GET",
        "operators",
        "Who did what, and who looked at what, as an operator",
        operators,
        OperatorsQuery,
        NoBody,
        OperatorActions,
        "Newest first, straight from the stream, as `vestnik audit operators`. Each view is recorded itself.",
    ),
    _route(
        "GET",
        "person",
        "A person: account, public profile and counts",
        person,
        PersonQuery,
        NoBody,
        PersonSeen,
        "No e-mail addresses or texts are shown. Each view is recorded with its operator.",
    ),
    _route(
        "GET",
        "event",
        "An event's state in each read model",
        event,
        TraceQuery,
        NoBody,
        EventTrace,
        "By its id, by the id of its message, or by its stream and sequence. For a message also whether it was seen.",
    ),
    _route(
        "GET",
        "aggregate",
        "One aggregate's events, and its state after each",
        aggregate,
        AggregateQuery,
        NoBody,
        AggregateVersions,
        "The newest first, as its service derives them. Secrets and personal data are not shown. Each view is "
        "recorded with its operator.",
    ),
    _route(
        "GET",
        "dead-letters",
        "Events that a projection could not apply",
        dead_letters,
        DeadLettersQuery,
        NoBody,
        DeadLetters,
    ),
    _route("GET", "dead-letter", "A dead letter with its event", dead_letter, LetterQuery, NoBody, DeadLetterAndEvent),
    _route(
        "POST",
        "dead-letters/retry",
        "The result of the retry",
        retry,
        NoQuery,
        RetryRequest,
        SettledLetter,
        "Applies the event and those that wait for it with the current code. Events that were applied stay applied.",
    ),
    _route(
        "POST",
        "dead-letters/discard",
        "The result of retrying those that waited for it",
        discard,
        NoQuery,
        DiscardRequest,
        SettledLetter,
        "Discards an event permanently: this version of the read model skips it. Recorded with the reason and the "
        "operator's name.",
    ),
    _route(
        "GET",
        "anomalies",
        "What documented rules found unusual",
        anomalies,
        AnomaliesQuery,
        NoBody,
        Anomalies,
        "Newest first, from the read model `anomalies`: many failed logins, a login from a new network close to a "
        "password change, many looks or exports by one operator.",
    ),
    _route(
        "GET",
        "reports",
        "Reports of users and messages",
        reports,
        ReportsQuery,
        NoBody,
        Reports,
        "The latest first, without their texts.",
    ),
    _route(
        "GET",
        "report",
        "The texts of a report",
        report,
        ReportQuery,
        NoBody,
        ReportTexts,
        "The reported messages as they were when they were reported, and nothing else of the conversation. Each view "
        "is recorded as an event, with its operator.",
    ),
    _route(
        "POST",
        "reports/settle",
        "Settles a report",
        settle,
        NoQuery,
        SettleRequest,
        SettledReport,
        "Recorded with the operator and the note. The texts expire `VESTNIK_REPORT_DAYS` later.",
        (ReportSettled,),
    ),
    _route(
        "GET",
        "maintenance",
        "Verifications and rebuilds",
        maintenance,
        NoQuery,
        NoBody,
        Maintenance,
        "The running one and the last ones since the operator process started.",
    ),
    _route(
        "POST",
        "maintenance",
        "What was started",
        start,
        NoQuery,
        Starting,
        MaintenanceJob,
        "Verifies or rebuilds a read model, as `vestnik verify` and `vestnik rebuild` do; one at a time.",
        (MaintenanceUnderWay,),
    ),
    _route(
        "POST",
        "maintenance/cancel",
        "The job that is being cancelled",
        cancel,
        NoQuery,
        Cancelling,
        MaintenanceJob,
        "It ends shortly after. The next rebuild resumes a cancelled one.",
    ),
)
