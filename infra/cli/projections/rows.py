"""`vestnik rows`: shows rows of a read model, for its developers and operators."""

import asyncio
import sys

import click
import msgspec
from psycopg import Error as DatabaseError
from psycopg import errors, sql
from psycopg.rows import dict_row
from rich.markup import escape

from infra.cli.actions.recording import look
from infra.cli.output.tables import Column, console, fitted
from infra.cli.output.terminal_text import printable
from infra.cli.reader_connection import connect_reader
from infra.operator_errors import OperatorError
from infra.runtime.run_file import with_running_addresses
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.projection import Projection
from projections.engine.storage.connections import connect, database_unavailable
from projections.registry import choose

# A column with a longer value may be folded anywhere; names and ids are shorter.
_LONG = 64
# Seconds.
_PATIENCE = 5.0
Row = dict[str, object]


class NotBuilt(OperatorError):
    """The read model has no tables yet."""


@click.command()
@click.argument("name", metavar="PROJECTION")
@click.option("--table", help="The table or view; default: the first table.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many rows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per row.")
def rows(name: str, table: str | None, limit: int, as_json: bool) -> None:
    """Shows rows of a read model, ordered by their first column.

    They contain personal data and messages: use it only with permission.
    """
    (projection,) = choose([name])
    tables = (*projection.table_names(), *projection.view_names())
    if table is not None and table not in tables:
        raise click.UsageError(f"{name} has no table {table}; it has: {', '.join(tables)}")
    printed = asyncio.run(_read(with_running_addresses(Settings.load()), projection, table or tables[0], limit))
    if as_json:
        for row in printed:
            sys.stdout.write(to_json(row) + "\n")
    else:
        _print(table or tables[0], printed)


async def _read(settings: Settings, projection: type[Projection], table: str, limit: int) -> list[Row]:
    nc = await connect_reader(settings, "operator-rows", patience=_PATIENCE)
    try:
        await look(settings, nc, "rows", target=projection.name, filter_={"table": table})
    finally:
        await nc.close()
    owners = await ServiceSchemas.discover(settings.database_url)
    conn = await connect(owners.url(projection.run_by()), "vestnik rows")
    try:
        async with conn.cursor(row_factory=dict_row) as cursor:
            view = sql.Identifier(projection.reader_name(table))
            await cursor.execute(sql.SQL("SELECT * FROM {} ORDER BY 1 LIMIT %s").format(view), (limit,))
            return await cursor.fetchall()
    except errors.UndefinedTable:
        raise NotBuilt(
            f"{projection.name} is not built in version {projection.version}: {projection.run_by()} builds it when"
            " it starts"
        ) from None
    except DatabaseError as error:
        raise database_unavailable(error) from error
    finally:
        await conn.close()


def to_json(row: Row) -> str:
    """The row as one JSON object; values for which JSON has no form, such as ranges and addresses, are texts."""
    return msgspec.json.encode(row, enc_hook=str).decode()


def _print(title: str, rows: list[Row]) -> None:
    shown = console()
    if not rows:
        shown.print(f"{title} has no rows")
        return
    values = [["" if value is None else printable(str(value)) for value in row.values()] for row in rows]
    columns = [
        Column(name, is_text=any(len(row[index]) > _LONG for row in values)) for index, name in enumerate(rows[0])
    ]
    shown.print(fitted(columns, [list(map(escape, row)) for row in values], shown.width, title=title))
