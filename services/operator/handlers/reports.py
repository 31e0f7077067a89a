"""Reports of users: the list and the texts, which are looks, and the decision, which is an act."""

import msgspec

from contracts.rpc.vestnik.operator.v1 import Document, GetReportRequest, ListReportsRequest, SettleReportRequest
from contracts.values.field_types import Id
from contracts.values.validation import validated
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.handlers.documents import PageRequest, document
from services.operator.reports import Reports


class _Report(msgspec.Struct, frozen=True):
    id: Id


class _Settled(msgspec.Struct, frozen=True):
    report_id: str
    outcome: str


class ReportHandlers:
    def __init__(self, reports: Reports, recorder: Recorder) -> None:
        self._reports = reports
        self._recorder = recorder

    async def list(self, message: ListReportsRequest, actor: Actor) -> Document:
        limit = validated(PageRequest, {"limit": message.limit}).limit
        await self._recorder.look(actor, "reports", filter_={"settled": "yes" if message.settled else "no"})
        page = await self._reports.list(actor, settled=message.settled, limit=limit, before=message.before)
        return Document(json=page)

    async def get(self, message: GetReportRequest, actor: Actor) -> Document:
        report_id = validated(_Report, {"id": message.id}).id
        await self._recorder.look(actor, "report", target=report_id)
        return Document(json=await self._reports.get(actor, report_id))

    async def settle(self, message: SettleReportRequest, actor: Actor) -> Document:
        report_id = validated(_Report, {"id": message.id}).id
        details = {"outcome": message.outcome}
        # The note is the reason; contact refuses a bad one, and it is bounded here.
        async with self._recorder.acting(
            actor, "report.settle", target=report_id, details=details, reason=message.note
        ):
            await self._reports.settle(actor, report_id, message.outcome, message.note)
        return document(_Settled(report_id, message.outcome))
