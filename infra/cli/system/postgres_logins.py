"""`vestnik postgres-logins`: prints the logins and privileges of a PostgreSQL server as SQL."""

import asyncio

import click
from psycopg.conninfo import conninfo_to_dict

from infra import url_files
from infra.cli.actions.recording import act_without_nats
from infra.embedded.postgres_server import DATABASE
from infra.security.postgres_roles import statements
from infra.security.secrets import Secrets
from infra.settings import Settings


@click.command("postgres-logins")
@click.option("--database", help="The database's name; default: that of VESTNIK_DATABASE_URL, or `vestnik`.")
def postgres_logins(database: str | None) -> None:
    """Prints the SQL that creates a login and a schema for each service, and a login for operators.

    A superuser runs it in the database itself, and again after an update or with new secrets. The passwords are those
    of the secrets folder, created if missing; the output does not contain them.
    """
    settings = Settings.load()
    secrets = Secrets.create(settings.secrets_path)
    database_url = url_files.read(settings.database_url)
    named = conninfo_to_dict(database_url).get("dbname") if database_url else None
    passwords = asyncio.run(act_without_nats(settings, "postgres.logins", secrets.database_passwords))
    for statement in statements(database or str(named or DATABASE), passwords):
        click.echo(f"{statement};")
