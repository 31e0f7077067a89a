"""`vestnik serve`: runs one process of one service."""

import importlib

import click

from contracts.services import REGISTRY
from infra.settings import Settings


@click.command()
@click.argument("service", type=click.Choice(list(REGISTRY)))
def serve(service: str) -> None:
    """Runs one process of SERVICE in the foreground, with the settings of the environment, until SIGTERM."""
    import uvloop

    settings = Settings.load()
    main = importlib.import_module(f"services.{service}.main").main
    uvloop.run(main(settings))
