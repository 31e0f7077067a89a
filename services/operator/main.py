"""Entry point of the operator's service, which owns the stream OPERATOR and runs with an operator's rights only."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nats.aio.client import Client as NATS

from contracts.errors import Unavailable, VestnikError, error_text
from contracts.services import OPERATOR
from infra.runtime.service_process import ServiceProcess, service_process
from infra.security.operator_accounts import Operators
from infra.security.service_schemas import CachedSchemas
from infra.settings import Settings
from projections.engine.running.runner_group import Runners
from projections.registry import owned_by
from services.operator.access import OperatorAccess
from services.operator.actions.pending import PendingActions, can_append
from services.operator.actions.recorder import Recorder
from services.operator.anomalies.metrics import watch_anomalies
from services.operator.anomalies.queries import AnomalyQueries
from services.operator.anomalies.rules import Thresholds
from services.operator.controls import Controls
from services.operator.dead_letters.actions import PATIENCE, DeadLetters
from services.operator.handlers.anomalies import AnomalyHandlers
from services.operator.handlers.dead_letters import DeadLetterHandlers
from services.operator.handlers.history import HistoryHandlers
from services.operator.handlers.maintenance import MaintenanceHandlers
from services.operator.handlers.operators import OperatorActionHandlers
from services.operator.handlers.reports import ReportHandlers
from services.operator.handlers.sessions import SessionHandlers
from services.operator.handlers.status import StatusHandlers
from services.operator.logins.sessions import Sessions
from services.operator.maintenance import Maintenance
from services.operator.read_models import ReadModels
from services.operator.reports import Reports
from services.operator.server import OperatorServer
from streams.log import Log

logger = logging.getLogger(__name__)
# Seconds between two attempts to reach the database.
_AGAIN = 1.0


async def main(settings: Settings) -> None:
    own_schema = CachedSchemas(settings.database_url)

    async def database_url() -> str:
        # An operator's login finds the tables of every service; this process keeps its read models in a schema of its
        # own.
        return (await own_schema.get()).url(OPERATOR)

    async with service_process(OPERATOR, settings, database_url=database_url) as process:
        process.spawn(_check_schema(process, database_url), "check of the operator's schema")
        runners = Runners(owned_by(OPERATOR), process.nats, process.pool, database_url)
        await runners.start()
        log = Log(process.nats, patience=PATIENCE, quorum=process.quorum, watches=process.watches)
        await _append_pending(process.nats, log, settings)
        recorder = Recorder(log)
        schemas = CachedSchemas(settings.database_url, is_silent=lambda: not process.database_answers())
        read_models = ReadModels(schemas)
        anomalies = AnomalyQueries(read_models, Thresholds.of(settings))
        maintenance = Maintenance(settings, recorder)
        operators = Operators(settings.secrets_path)
        server = OperatorServer(
            OperatorAccess(
                operators,
                # `auto` is resolved by `vestnik up`: a process by itself knows nothing of how it is reached.
                second_factor=settings.operator_totp != "off",
                keeps_addresses=settings.audit_address,
            ),
            status=StatusHandlers(process.nats, settings),
            history=HistoryHandlers(process.nats, read_models, recorder),
            sessions=SessionHandlers(read_models, Sessions(process.client("session"), log), recorder),
            dead_letters=DeadLetterHandlers(DeadLetters(process.nats, log, schemas), recorder, operators),
            reports=ReportHandlers(Reports(process.client("contact")), recorder),
            anomalies=AnomalyHandlers(anomalies, recorder),
            maintenance=MaintenanceHandlers(maintenance, Controls(process.nats, log, schemas), recorder),
            operator_actions=OperatorActionHandlers(process.nats, recorder, operators),
        )
        process.spawn(runners.watch(), "projections")
        process.spawn(watch_anomalies(anomalies, runners.ready), "count of anomalies")
        process.ready_when(runners.ready)
        try:
            await process.serve([server])
        finally:
            await maintenance.close()
            await runners.stop()


async def _check_schema(process: ServiceProcess, database_url: Callable[[], Awaitable[str]]) -> None:
    """Waits for the database, then for the end of the process.

    Raises:
        OperatorError: the login cannot reach the schema, which ends the process.
    """
    while True:
        try:
            await database_url()
        except Unavailable:
            await asyncio.sleep(_AGAIN)
        else:
            return await process.stopped()


async def _append_pending(nc: NATS, log: Log, settings: Settings) -> None:
    """Appends the acts of commands that ran while NATS was away; if that fails, the next command or start does it."""
    try:
        if await can_append(nc):
            await PendingActions(settings.secrets_path).flush(log)
    except (VestnikError, OSError) as error:
        logger.warning("acts of operators wait to be recorded: %s", error_text(error))
