"""`vestnik deployment-secrets`: makes all keys, passwords and certificates of a deployment."""

import asyncio
from pathlib import Path

import click
import msgspec

from infra.cli.actions.recording import act_without_nats
from infra.provisioning.secret_folders import SOURCE, Servers, make
from infra.settings import Settings
from services.auth.mail.transport import SmtpServer

_DEFAULT = Servers()


@click.command("deployment-secrets")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--nats", multiple=True, default=_DEFAULT.nats, show_default=True, help="A NATS server, as HOST[:PORT].")
@click.option("--postgres", multiple=True, default=_DEFAULT.postgres, show_default=True, help="A PostgreSQL server.")
@click.option("--database", default=_DEFAULT.database, show_default=True, help="The database's name.")
@click.option(
    "--public-host",
    default=_DEFAULT.public,
    show_default=True,
    help="The host that clients connect to; with its port if that is not 443.",
)
@click.option("--smtp-url", default=_DEFAULT.smtp_url, show_default=True, help="As VESTNIK_SMTP_URL; at first only.")
def deployment_secrets(
    folder: Path, nats: tuple[str, ...], postgres: tuple[str, ...], database: str, public_host: str, smtp_url: str
) -> None:
    """Makes the secrets of a deployment in FOLDER: all in `secrets`, and a folder for each party and server.

    `secrets` is the source: what exists there is kept, and a certificate or key of your own is put there. The other
    folders are made out of it, so run this again, with the same options, after each change. As root it gives each
    folder to the user of the container that reads it.
    """
    # As auth reads it, which would not start with another one.
    SmtpServer.of(smtp_url)
    servers = Servers(nats=nats, postgres=postgres, database=database, public=public_host, smtp_url=smtp_url)
    settings = msgspec.structs.replace(Settings.load(), secrets_dir=str(folder / SOURCE), nats_url="", database_url="")
    folders = asyncio.run(act_without_nats(settings, "deployment.secrets", lambda: make(folder, servers)))
    click.echo(f"{folder / SOURCE}: all secrets; {', '.join(folders)}: what each needs of them")
    kept = folder / SOURCE / "smtp-url"
    if smtp_url not in (_DEFAULT.smtp_url, kept.read_text().strip()):
        click.echo(f"{kept} is kept, and names another mail server: change it there, and run this again", err=True)
