"""`vestnik nats-config`: prints the permissions of every party as NATS server configuration."""

import asyncio

import click
import msgspec

from infra.cli.actions.recording import act_without_nats
from infra.security.nats_permissions import accounts
from infra.security.secrets import Secrets
from infra.settings import Settings


@click.command()
def nats_config() -> None:
    """Prints the block `accounts` of a NATS server's configuration, with the rights of each user.

    The passwords in it are those of the secrets folder, created if missing. The server reads JSON, so the output is a
    file to `include`; only the server may read it.
    """
    settings = Settings.load()
    secrets = Secrets.create(settings.secrets_path)
    passwords = asyncio.run(act_without_nats(settings, "nats.accounts", secrets.nats_passwords))
    block = {"accounts": accounts(passwords)}
    click.echo(msgspec.json.format(msgspec.json.encode(block)).decode())
