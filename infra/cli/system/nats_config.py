"""`vestnik nats-config`: prints the permissions of every party as NATS server configuration."""

import click
import msgspec

from infra.security.nats_permissions import accounts
from infra.security.secrets import Secrets
from infra.settings import Settings


@click.command()
def nats_config() -> None:
    """Prints the block `accounts` of a NATS server's configuration, with the rights of each user.

    The passwords in it are those of the secrets folder, created if missing. The server reads JSON, so the output is a
    file to `include`; only the server may read it.
    """
    secrets = Secrets.create(Settings.load().secrets_path)
    block = {"accounts": accounts(secrets.nats_passwords())}
    click.echo(msgspec.json.format(msgspec.json.encode(block)).decode())
