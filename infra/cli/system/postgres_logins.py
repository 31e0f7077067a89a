"""`vestnik postgres-logins`: prints the logins and privileges of a PostgreSQL server as SQL."""

import click
from psycopg.conninfo import conninfo_to_dict

from infra.embedded.postgres_server import DATABASE
from infra.security.postgres_roles import statements
from infra.security.secrets import Secrets
from infra.settings import Settings


@click.command("postgres-logins")
@click.option("--database", help="The database's name; that of VESTNIK_DATABASE_URL if not said, or `vestnik`.")
def postgres_logins(database: str | None) -> None:
    """Prints the SQL that makes a login and a schema for each service, and a login for operators.

    A superuser runs it in the database itself, also again after an update or with other secrets. The passwords are
    those of the folder of secrets, made where they are missing; what is printed does not hold them.
    """
    settings = Settings.load()
    secrets = Secrets.create(settings.secrets_path)
    named = conninfo_to_dict(settings.database_url).get("dbname") if settings.database_url else None
    for statement in statements(database or str(named or DATABASE), secrets.database_passwords()):
        click.echo(f"{statement};")
