"""`vestnik personal-data`: finds what events carry in plain form."""

import sys
from collections.abc import Sequence

import click
import msgspec
import uvloop
from rich.console import Console

from contracts.subjects import STREAMS
from infra.archive.stream_access import reach
from infra.cli.output import tables
from infra.cli.output.progress_bar import Bar
from infra.cli.output.tables import Column
from infra.cli.process_priority import lower_priority
from infra.personal_data.plain_data import PlainData, find_plain
from infra.runtime.connections import connect_nats
from infra.settings import Settings

_COLUMNS = (
    Column("stream"),
    Column("event"),
    Column("month"),
    Column("events", is_number=True),
    Column("persons", is_number=True),
)


@click.group(name="personal-data")
def personal_data() -> None:
    """Shows what of the personal data in events is not sealed."""


@personal_data.command()
@click.option(
    "--stream",
    "streams",
    type=click.Choice(list(STREAMS), case_sensitive=False),
    multiple=True,
    help="Only this stream; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def plain(streams: tuple[str, ...], as_json: bool) -> None:
    """Counts the events with personal data in plain form, by stream, type and month, and the persons whose data it is.

    Reads every event as it is stored, without keys, and shows no personal data. The system may be running or stopped.
    What names no user is never sealed and is not counted.
    """
    lower_priority()
    chosen = [stream for stream in STREAMS if not streams or stream in {name.upper() for name in streams}]
    plain_data = uvloop.run(_find(Settings.load(), chosen, tables.console(stderr=True)))
    if as_json:
        sys.stdout.write(msgspec.json.encode(plain_data).decode() + "\n")
        return
    _print(plain_data)


async def _find(settings: Settings, streams: Sequence[str], console: Console) -> PlainData:
    async with reach(settings, make=False) as store:
        nc = await connect_nats(store.settings, "operator-plain-data", patience=5.0)
        try:
            with Bar(console, "events", "events") as bar:
                return await find_plain(nc, streams, lambda stream, done, total: bar.move(done, total))
        finally:
            await nc.close()


def _print(plain_data: PlainData) -> None:
    shown = tables.console()
    if plain_data.months:
        rows = [
            (month.stream, month.type, month.month, f"{month.events:,}", f"{month.persons:,}")
            for month in plain_data.months
        ]
        shown.print(tables.fitted(_COLUMNS, rows, shown.width))
    shown.print(
        f"{plain_data.events:,} of {plain_data.read:,} events have personal data in plain form, of"
        f" {plain_data.persons:,} persons"
    )
    if plain_data.unreadable:
        shown.print(f"not readable by this release, so that nothing is known of them: {plain_data.unreadable:,}")
