"""`vestnik nats-config`: prints the permissions of every party as NATS server configuration."""

import click
import msgspec

from infra.security.nats_permissions import accounts
from infra.security.secrets import Secrets
from infra.settings import Settings


@click.command()
def nats_config() -> None:
    """Prints the block `accounts` of a NATS server's configuration: who may do what.

    The passwords in it are those of the folder of secrets, made where they are missing. The server reads JSON, so what
    is printed is a file to `include`; it is for the server alone to read.
    """
    secrets = Secrets.create(Settings.load().secrets_path)
    block = {"accounts": accounts(secrets.nats_passwords())}
    click.echo(msgspec.json.format(msgspec.json.encode(block)).decode())
