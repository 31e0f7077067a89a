"""Routes of the reports of users and messages."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import ReportSettled
from contracts.rpc.vestnik.operator.v1 import GetReportRequest, ListReportsRequest, SettleReportRequest
from contracts.values.field_types import Id, ReportNote, ReportOutcome
from services.gateway.http.endpoint import AnyEndpoint, NoBody, NoQuery, Request, Response
from services.gateway.routes.operators.operator_route import Limit, Time, operator_client, operator_route, reply


class ReportPerson(msgspec.Struct, frozen=True):
    user_id: str
    username: str | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    report_id: str
    reporter: ReportPerson
    reported: ReportPerson
    reason: Annotated[
        str,
        Meta(description="`spam`, `harassment`, `violence`, `sexual`, `impersonation` or `other`; more may be added."),
    ]
    messages: Annotated[int, Meta(description="Number of reported messages.")]
    filed_at: Time
    settled_at: Annotated[Time | None, Meta(description="null: the report is open.")]
    outcome: Annotated[str | None, Meta(description="`upheld` or `dismissed`.")]
    settled_by: Annotated[str | None, Meta(description="The operator's name.")]


class Reports(msgspec.Struct, frozen=True):
    items: list[Report]
    older: Annotated[str | None, Meta(description="For `before`: the next page; null if there is none.")]


class ReportedText(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    sequence: Annotated[int, Meta(description="In the conversation.")]
    sender_id: str
    sent_at: Time
    text: Annotated[str, Meta(description="As it was reported; empty if it was deleted before.")]


class ReportTexts(msgspec.Struct, frozen=True, kw_only=True):
    report_id: str
    comment: Annotated[str, Meta(description="Of the reporter.")]
    messages: list[ReportedText]
    note: Annotated[str, Meta(description="Of the operator who settled it.")]
    expired_at: Annotated[Time | None, Meta(description="Since when comment and messages are not shown any more.")]


class SettledReport(msgspec.Struct, frozen=True):
    report_id: str
    outcome: str


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


async def reports(incoming: Request[ReportsQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = ListReportsRequest(
        user_id=incoming.caller.user_id, settled=query.settled, limit=query.limit, before=query.before
    )
    return reply(await operator.read(operator.stub.list_reports, request), Reports)


async def report(incoming: Request[ReportQuery, NoBody]) -> Response:
    operator = operator_client(incoming)
    request = GetReportRequest(user_id=incoming.caller.user_id, id=incoming.query.id)
    return reply(await operator.command(operator.stub.get_report, request, repeatable=True), ReportTexts)


async def settle(incoming: Request[NoQuery, SettleRequest]) -> Response:
    operator, body = operator_client(incoming), incoming.body
    request = SettleReportRequest(user_id=incoming.caller.user_id, id=body.id, outcome=body.outcome, note=body.note)
    return reply(await operator.command(operator.stub.settle_report, request, repeatable=True), SettledReport)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "reports",
        "Reports of users and messages",
        reports,
        ReportsQuery,
        NoBody,
        Reports,
        "The latest first, without their texts.",
    ),
    operator_route(
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
    operator_route(
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
)
