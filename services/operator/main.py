"""Entry point of the operator's service, which owns the stream OPERATOR and runs with an operator's rights only."""

from contracts.services import OPERATOR
from infra.runtime.service_process import service_process
from infra.security.operator_accounts import Operators
from infra.settings import Settings
from services.operator.dead_letters.actions import PATIENCE
from services.operator.maintenance import Maintenance
from services.operator.reports import Reports
from services.operator.server import OperatorServer
from streams.log import Log


async def main(settings: Settings) -> None:
    async with service_process(OPERATOR, settings) as process:
        log = Log(process.nats, patience=PATIENCE, quorum=process.quorum, watches=process.watches)
        maintenance = Maintenance(settings)
        try:
            operators = Operators(settings.secrets_path)
            reports = Reports(process.client("contact"))
            await process.serve([OperatorServer(operators, process.nats, log, settings, maintenance, reports)])
        finally:
            await maintenance.close()
