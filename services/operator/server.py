"""The operator's service over gRPC: checks that the caller is an operator and returns JSON documents.

Every method first checks the caller; the handlers (services/operator/handlers) record what the operator does or sees.
"""

from contracts.rpc.vestnik.operator.v1 import (
    CancelMaintenanceRequest,
    ControlProjectionRequest,
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
    OperatorServiceBase,
    RetryDeadLetterRequest,
    SettleReportRequest,
    StartMaintenanceRequest,
    TraceEventRequest,
)
from services.operator.access import OperatorAccess
from services.operator.handlers.anomalies import AnomalyHandlers
from services.operator.handlers.dead_letters import DeadLetterHandlers
from services.operator.handlers.history import HistoryHandlers
from services.operator.handlers.maintenance import MaintenanceHandlers
from services.operator.handlers.operators import OperatorActionHandlers
from services.operator.handlers.reports import ReportHandlers
from services.operator.handlers.sessions import SessionHandlers
from services.operator.handlers.status import StatusHandlers


class OperatorServer(OperatorServiceBase):
    def __init__(
        self,
        access: OperatorAccess,
        *,
        status: StatusHandlers,
        history: HistoryHandlers,
        sessions: SessionHandlers,
        dead_letters: DeadLetterHandlers,
        reports: ReportHandlers,
        anomalies: AnomalyHandlers,
        maintenance: MaintenanceHandlers,
        operator_actions: OperatorActionHandlers,
    ) -> None:
        self._operator = access.check
        self._status = status
        self._history = history
        self._sessions = sessions
        self._dead_letters = dead_letters
        self._reports = reports
        self._anomalies = anomalies
        self._maintenance = maintenance
        self._operator_actions = operator_actions

    async def get_status(self, message: GetStatusRequest) -> Document:
        self._operator(message.user_id, active=False)
        return await self._status.status()

    async def get_rates(self, message: GetRatesRequest) -> Document:
        self._operator(message.user_id, active=False)
        return await self._status.rates(message)

    async def list_events(self, message: ListEventsRequest) -> Document:
        return await self._history.events(message, self._operator(message.user_id))

    async def list_session_events(self, message: ListSessionEventsRequest) -> Document:
        return await self._sessions.events(message, self._operator(message.user_id))

    async def end_session(self, message: EndSessionRequest) -> Document:
        return await self._sessions.end(message, self._operator(message.user_id))

    async def get_person(self, message: GetPersonRequest) -> Document:
        return await self._history.person(message, self._operator(message.user_id))

    async def trace_event(self, message: TraceEventRequest) -> Document:
        return await self._history.trace(message, self._operator(message.user_id))

    async def get_aggregate(self, message: GetAggregateRequest) -> Document:
        return await self._history.aggregate(message, self._operator(message.user_id))

    async def list_dead_letters(self, message: ListDeadLettersRequest) -> Document:
        self._operator(message.user_id)
        return await self._dead_letters.list(message)

    async def get_dead_letter(self, message: GetDeadLetterRequest) -> Document:
        return await self._dead_letters.get(message, self._operator(message.user_id))

    async def retry_dead_letter(self, message: RetryDeadLetterRequest) -> Document:
        return await self._dead_letters.retry(message, self._operator(message.user_id))

    async def discard_dead_letter(self, message: DiscardDeadLetterRequest) -> Document:
        return await self._dead_letters.discard(message, self._operator(message.user_id))

    async def list_maintenance(self, message: ListMaintenanceRequest) -> Document:
        self._operator(message.user_id, active=False)
        return await self._maintenance.list()

    async def start_maintenance(self, message: StartMaintenanceRequest) -> Document:
        return await self._maintenance.start(message, self._operator(message.user_id))

    async def cancel_maintenance(self, message: CancelMaintenanceRequest) -> Document:
        return await self._maintenance.cancel(message, self._operator(message.user_id))

    async def control_projection(self, message: ControlProjectionRequest) -> Document:
        return await self._maintenance.control(message, self._operator(message.user_id))

    async def list_anomalies(self, message: ListAnomaliesRequest) -> Document:
        return await self._anomalies.list(message, self._operator(message.user_id))

    async def list_reports(self, message: ListReportsRequest) -> Document:
        return await self._reports.list(message, self._operator(message.user_id))

    async def get_report(self, message: GetReportRequest) -> Document:
        return await self._reports.get(message, self._operator(message.user_id))

    async def settle_report(self, message: SettleReportRequest) -> Document:
        return await self._reports.settle(message, self._operator(message.user_id))

    async def list_operator_actions(self, message: ListOperatorActionsRequest) -> Document:
        return await self._operator_actions.list(message, self._operator(message.user_id))
