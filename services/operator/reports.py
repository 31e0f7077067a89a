"""Reports of users, by calls to contact, which owns them and records every view of a text and every settlement."""

from contracts.rpc.vestnik.contact.v1 import (
    ContactServiceStub,
    GetReportRequest,
    ListReportsRequest,
    SettleReportRequest,
)
from infra.rpc.client import Client
from services.operator.actions.domain import Actor

_TIMEOUT = 7.0


class Reports:
    def __init__(self, contact: Client) -> None:
        self._contact = contact
        self._stub = contact.stub(ContactServiceStub)

    async def list(self, operator: Actor, *, settled: bool, limit: int, before: str) -> bytes:
        """Returns a page of open or settled reports as JSON, without their texts."""
        request = ListReportsRequest(operator_id=_account(operator), settled=settled, limit=limit, cursor=before)
        answer = await self._contact.call(self._stub.list_reports, request, timeout=_TIMEOUT, idempotent=True)
        return answer.json

    async def get(self, operator: Actor, report_id: str) -> bytes:
        """Returns the texts of a report as JSON; recorded with the operator.

        Raises:
            NotFound: there is no such report.
        """
        request = GetReportRequest(operator_id=_account(operator), operator=operator.name, report_id=report_id)
        # Repeated after a lost connection: a second record of the view does no harm.
        answer = await self._contact.call(self._stub.get_report, request, timeout=_TIMEOUT, idempotent=True)
        return answer.json

    async def settle(self, operator: Actor, report_id: str, outcome: str, note: str) -> None:
        """Settles a report, in the operator's name; repeated, nothing happens.

        Raises:
            NotFound: there is no such report.
            ReportSettled: it was settled, by another operator or in another way.
        """
        request = SettleReportRequest(
            operator_id=_account(operator),
            operator=operator.name,
            report_id=report_id,
            outcome=outcome,
            note=note,
        )
        await self._contact.call(self._stub.settle_report, request, timeout=_TIMEOUT, idempotent=True)


def _account(operator: Actor) -> str:
    """The operator's account, which everyone on the page has."""
    assert operator.user_id is not None
    return operator.user_id
