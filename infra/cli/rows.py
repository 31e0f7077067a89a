"""`vestnik rows`: what is in a read model, for whoever builds one or looks after it."""

import asyncio
import sys

import click
import msgspec
from psycopg import Error as DatabaseError
from psycopg import errors, sql
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.database_owners import Owners
from infra.failures import Failure
from infra.running import connected
from infra.settings import Settings
from projections.engine.connecting import connect, out_of_reach
from projections.engine.projection import Projection
from projections.registry import UnknownProjection, choose

_LONGEST_VALUE = 60
Row = dict[str, object]


class NotBuilt(Failure):
    """The read model has no tables to show yet."""


@click.command()
@click.argument("name", metavar="PROJECTION")
@click.option("--table", help="Which of its tables; the first if not said.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many rows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a row.")
def rows(name: str, table: str | None, limit: int, as_json: bool) -> None:
    """Shows rows of a read model, in the order of their first column.

    They hold what people wrote and who they are: look only where it is yours to look.
    """
    try:
        (projection,) = choose([name])
    except UnknownProjection as error:
        raise click.ClickException(str(error)) from error
    tables = projection.table_names()
    if table is not None and table not in tables:
        raise click.UsageError(f"{name} has no table {table}; it has: {', '.join(tables)}")
    found = asyncio.run(_read(connected(Settings.load()), projection, table or tables[0], limit))
    if as_json:
        for row in found:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
    else:
        _print(table or tables[0], found, Console())


async def _read(settings: Settings, projection: type[Projection], table: str, limit: int) -> list[Row]:
    owners = await Owners.at(settings.database_url)
    conn = await connect(owners.url(projection.run_by()), "vestnik rows")
    try:
        async with conn.cursor(row_factory=dict_row) as cursor:
            view = sql.Identifier(projection.view(table))
            await cursor.execute(sql.SQL("SELECT * FROM {} ORDER BY 1 LIMIT %s").format(view), (limit,))
            return await cursor.fetchall()
    except errors.UndefinedTable:
        raise NotBuilt(
            f"{projection.name} is not built in version {projection.version}: {projection.run_by()} builds it when"
            " it starts"
        ) from None
    except DatabaseError as error:
        raise out_of_reach(error) from error
    finally:
        await conn.close()


def _print(title: str, found: list[Row], console: Console) -> None:
    if not found:
        console.print(f"{title} has no rows")
        return
    shown = Table(*found[0], title=title, title_justify="left")
    for row in found:
        shown.add_row(*(escape(_short(value)) for value in row.values()))
    console.print(shown)


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
