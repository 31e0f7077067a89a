"""Puts the operator's service together: it owns no stream, and has the rights of an operator and no others."""

from infra.operators import Operators
from infra.process import service_process
from infra.settings import OPERATOR_SERVICE, Settings
from services.operator.server import OperatorServer


async def main(settings: Settings) -> None:
    async with service_process(OPERATOR_SERVICE, settings) as process:
        await process.serve([OperatorServer(Operators(settings.secrets_path), process.nats, settings)])
