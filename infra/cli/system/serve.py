"""`vestnik serve`: runs one process of one service."""

import faulthandler
import importlib
import logging
import resource
import sys

import click

from contracts.services import REGISTRY
from infra.settings import Settings


@click.command()
@click.argument("service", type=click.Choice(list(REGISTRY)))
def serve(service: str) -> None:
    """Runs one process of SERVICE in the foreground, with the settings of the environment, until SIGTERM."""
    import uvloop

    from infra.cli.errors import MENDABLE
    from infra.logs.log_setup import configure_logging
    from infra.supervisor.heartbeat import heartbeat
    from infra.telemetry.process_tracing import process_tracing

    # A core file would hold keys and passwords.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = Settings.load()
    configure_logging(settings, service)
    main = importlib.import_module(f"services.{service}.main").main
    # A process that hangs is ended with SIGABRT, and then writes the stacks of its threads.
    faulthandler.enable()

    async def run_with_heartbeat() -> None:
        async with heartbeat(settings.heartbeat_fd):
            await main(settings)

    try:
        with process_tracing(service):
            uvloop.run(run_with_heartbeat())
    except MENDABLE as error:
        # A line of the log, in its format.
        logging.getLogger("vestnik").critical("%s", error)
        sys.exit(1)
