"""Entry point of the operator's service, which owns the stream OPERATOR and runs with an operator's rights only."""

from infra.runtime.service_process import ServiceProcess, service_process
from infra.security.operator_accounts import Operators
from infra.settings import OPERATOR_SERVICE, Settings
from services.operator.dead_letters.actions import PATIENCE
from services.operator.dead_letters.carry_over import carry_over
from services.operator.maintenance import Maintenance
from services.operator.server import OperatorServer
from streams.log import Log


async def main(settings: Settings) -> None:
    async with service_process(OPERATOR_SERVICE, settings) as process:
        log = Log(process.nats, patience=PATIENCE, quorum=process.quorum, watches=process.watches)
        process.spawn(_carry_over(process, log), "discards of an older release")
        maintenance = Maintenance(settings)
        try:
            operators = Operators(settings.secrets_path)
            await process.serve([OperatorServer(operators, process.nats, log, settings, maintenance)])
        finally:
            await maintenance.close()


async def _carry_over(process: ServiceProcess, log: Log) -> None:
    await carry_over(process.nats, log, process.settings.database_url)
    await process.stopped()
