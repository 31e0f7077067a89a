"""`vestnik probe`: asks a service's process on this machine, for the probes of containers."""

import asyncio

import click

from contracts.services import REGISTRY
from infra.runtime.process_probes import check_live, check_ready, service_of_first_process
from infra.settings import Settings


@click.command()
@click.argument("question", type=click.Choice(["live", "ready"]))
@click.argument("service", type=click.Choice(list(REGISTRY)), required=False)
def probe(question: str, service: str | None) -> None:
    """Asks the process of SERVICE on this machine; exit code 1, and one line why, if the answer is no.

    live: its event loop turns. A process that waits for NATS or PostgreSQL lives: a restart would not help.

    ready: it serves. The gateway is ready when a replica of every service is.

    Without SERVICE it asks the one that process 1 serves, as in a container. The settings must be those of the process.
    """
    service = service or service_of_first_process()
    if service is None:
        raise click.UsageError("name the SERVICE: process 1 is not `vestnik serve SERVICE`")
    settings = Settings.load()
    if question == "live":
        check_live(settings, service)
    else:
        asyncio.run(check_ready(settings, service))
    click.echo(f"{service} is {question}")
