"""The gRPC methods for reports. Those for operators return JSON objects, which the operator's service passes on."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import (
    ContactServiceBase,
    FiledReport,
    GetReportRequest,
    ListFiledReportsRequest,
    ListFiledReportsResponse,
    ListReportsRequest,
    ReportDocument,
    ReportUserRequest,
    ReportUserResponse,
    SettleReportRequest,
    SettleReportResponse,
)
from contracts.subjects import CONTACT
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import (
    PAGE_LIMIT,
    REPORTED_MESSAGES,
    Id,
    PageLimit,
    ReportComment,
    ReportNote,
    ReportOutcome,
    ReportReason,
)
from contracts.values.timestamps import Rfc3339, rfc3339, to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.contact.queries import FriendQueries
from services.contact.reports.commands import FileReport, ReportCommands
from services.contact.reports.domain import Operator, Report
from services.contact.reports.queries import FiledRow, ReportQueries, ReportRow, ReportsCursor

_ENCODE = msgspec.json.Encoder().encode


class _File(msgspec.Struct, frozen=True):
    user_id: Id
    reported_id: Id
    message_ids: Annotated[tuple[Id, ...], Meta(max_length=REPORTED_MESSAGES)]
    reason: ReportReason
    comment: ReportComment


class _Page(msgspec.Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=500)]


class _OfUser(msgspec.Struct, frozen=True):
    user_id: Id
    limit: PageLimit


class _One(msgspec.Struct, frozen=True):
    report_id: Id
    operator_id: Id


class _Settle(_One, frozen=True):
    outcome: ReportOutcome
    note: ReportNote


class ReportedUser(msgspec.Struct, frozen=True):
    user_id: str
    username: str | None


class ReportItem(msgspec.Struct, frozen=True, kw_only=True):
    report_id: str
    reporter: ReportedUser
    reported: ReportedUser
    reason: str
    messages: int
    filed_at: Rfc3339
    settled_at: Rfc3339 | None
    outcome: str | None
    settled_by: str | None


class ReportPage(msgspec.Struct, frozen=True):
    items: list[ReportItem]
    older: str | None


class MessageCopy(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    sequence: int
    sender_id: str
    sent_at: Rfc3339
    text: str


class ReportTexts(msgspec.Struct, frozen=True, kw_only=True):
    """What only this view shows: the comment and the messages until they expire, and the note."""

    report_id: str
    comment: str
    messages: list[MessageCopy]
    note: str
    expired_at: Rfc3339 | None


class ReportServer(ContactServiceBase):
    def __init__(self, commands: ReportCommands, queries: ReportQueries, people: FriendQueries) -> None:
        self._reports = commands
        self._report_queries = queries
        self._people = people

    async def report_user(self, message: ReportUserRequest) -> ReportUserResponse:
        request = validated(
            _File,
            {
                "user_id": message.user_id,
                "reported_id": message.reported_id,
                "message_ids": tuple(dict.fromkeys(message.message_ids)),
                "reason": message.reason,
                "comment": message.comment,
            },
        )
        command = FileReport(
            reporter_id=request.user_id,
            reported_id=request.reported_id,
            message_ids=request.message_ids,
            reason=request.reason,
            comment=request.comment,
        )
        return ReportUserResponse(report_id=await self._reports.file(command, current()))

    async def list_filed_reports(self, message: ListFiledReportsRequest) -> ListFiledReportsResponse:
        request = validated(_OfUser, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        await self._report_queries.wait_for(current().position)
        rows, more = await self._report_queries.filed_by(
            request.user_id, limit=request.limit, after=decode_cursor(message.cursor, ReportsCursor)
        )
        reports = [_filed(row, await self._reports.filed(row.report_id)) for row in rows]
        return ListFiledReportsResponse(reports=reports, next=encode_cursor(more) if more else "")

    async def list_reports(self, message: ListReportsRequest) -> ReportDocument:
        request = validated(_Page, {"limit": message.limit})
        rows, more = await self._report_queries.reports(
            settled=message.settled, limit=request.limit, after=decode_cursor(message.cursor, ReportsCursor)
        )
        names = await self._people.usernames(
            {user_id for row in rows for user_id in (row.reporter_id, row.reported_id)}
        )
        page = ReportPage([_item(row, names) for row in rows], encode_cursor(more) if more else None)
        return ReportDocument(json=_ENCODE(page))

    async def get_report(self, message: GetReportRequest) -> ReportDocument:
        request = validated(_One, {"report_id": message.report_id, "operator_id": message.operator_id})
        operator = Operator(request.operator_id, message.operator)
        report = await self._reports.view(request.report_id, operator, current())
        return ReportDocument(json=_ENCODE(_texts(request.report_id, report)))

    async def settle_report(self, message: SettleReportRequest) -> SettleReportResponse:
        request = validated(
            _Settle,
            {
                "report_id": message.report_id,
                "operator_id": message.operator_id,
                "outcome": message.outcome,
                "note": message.note,
            },
        )
        operator = Operator(request.operator_id, message.operator)
        sequence = await self._reports.settle(request.report_id, operator, request.outcome, request.note, current())
        # So that the operator's next list has it.
        await self._report_queries.wait_for(Position.at(CONTACT, sequence))
        return SettleReportResponse()


def _item(row: ReportRow, names: dict[str, str]) -> ReportItem:
    return ReportItem(
        report_id=row.report_id,
        reporter=ReportedUser(row.reporter_id, names.get(row.reporter_id)),
        reported=ReportedUser(row.reported_id, names.get(row.reported_id)),
        reason=row.reason,
        messages=row.messages,
        filed_at=rfc3339(row.filed_at),
        settled_at=rfc3339(row.settled_at) if row.settled_at else None,
        outcome=row.outcome,
        settled_by=row.settled_by,
    )


def _filed(row: FiledRow, report: Report) -> FiledReport:
    """A report as its reporter sees it: without the outcome and the operator who settled it."""
    filed = report.filed
    return FiledReport(
        report_id=row.report_id,
        user_id=filed.reported_id if filed else "",
        reason=filed.reason if filed else "",
        comment=filed.comment if filed else "",
        message_ids=[message.message_id for message in filed.messages] if filed else [],
        filed_at=to_unix_ms(row.filed_at),
    )


def _texts(report_id: str, report: Report) -> ReportTexts:
    filed, settlement = report.filed, report.settlement
    return ReportTexts(
        report_id=report_id,
        comment=filed.comment if filed else "",
        messages=[
            MessageCopy(
                message_id=message.message_id,
                sequence=message.sequence,
                sender_id=message.sender_id,
                sent_at=rfc3339(message.sent_at),
                text=message.text,
            )
            for message in (filed.messages if filed else ())
        ],
        note=settlement.event.note if settlement else "",
        expired_at=rfc3339(report.expired_at) if report.expired_at else None,
    )
