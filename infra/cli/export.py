"""`vestnik export`: all streams in one file."""

import sys
from contextlib import AbstractContextManager, aclosing
from functools import partial
from pathlib import Path
from typing import IO

import click
import msgspec
import uvloop
from psycopg import Error as DatabaseError
from rich.console import Console
from rich.markup import escape

from contracts.errors import VestnikError
from infra.archive.exporting import Exported
from infra.archive.exporting import export as export_to
from infra.archive.store import reach
from infra.archive.target import standard_output, target
from infra.archive.unreadable import Accepted, CannotBeImported, UnreadableEvent
from infra.cli.bar import Bar
from infra.connections import connect_nats
from infra.database_owners import Owners
from infra.failures import Failure
from infra.running import connected
from infra.secrets import Secrets
from infra.settings import Settings
from projections.engine import kept_letters
from projections.engine.connecting import connect
from projections.engine.kept_letters import Wanted

_EVERY = Wanted(projections=None, state=None, type=None, aggregate_id=None)
_STANDARD_OUTPUT = "-"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@click.option(
    "--allow-unreadable", is_flag=True, help="Write events that this release cannot read as well, as they are stored."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def export(file: Path, force: bool, allow_unreadable: bool, as_json: bool) -> None:
    """Writes the events of all streams, private ones too, to one compressed FILE with checksums; `-` for a pipe.

    The system may be at work, or stopped: the export ends where the streams end at its start. The file holds password
    hashes, addresses and messages, and is for its owner alone to read. Keys are not in it: keep the folder of secrets
    beside it (docs/howto/back-up.md).

    Where an import would refuse events, since this release cannot read them, they are named, nothing is written and the
    exit code is 1; not so for those that were discarded (`vestnik dead-letters discard`).
    """
    console = Console(stderr=True)
    piped = str(file) == _STANDARD_OUTPUT
    if piped and as_json:
        raise click.UsageError("--json would stand in the midst of what is written to standard output")
    place = standard_output() if piped else target(file, force=force)
    try:
        exported = uvloop.run(_run(Settings.load(), str(file), place, console, allow_unreadable))
    except CannotBeImported as error:
        _name(error.unreadable.named, error.unreadable.count, console)
        raise
    _name(exported.unreadable_events, exported.unreadable, console)
    if as_json:
        sys.stdout.write(msgspec.json.encode(exported).decode() + "\n")
        return
    console.print(
        f"[green]{escape(exported.file)}[/]: {exported.events:,} events, {exported.bytes:,} bytes,"
        f" in {exported.seconds:,.1f} s ({exported.events_per_second:,.0f} events/s)"
    )


async def _run(
    settings: Settings,
    name: str,
    place: AbstractContextManager[IO[bytes]],
    console: Console,
    allow_unreadable: bool,
) -> Exported:
    async with reach(settings, make=False) as store:
        nc = await connect_nats(store.settings, "operator-export", patience=5.0)
        try:
            with place as file, Bar(console, "export", "events") as bar:
                return await export_to(
                    nc,
                    Secrets.load(settings.secrets_path),
                    file,
                    name,
                    bar.move,
                    allow_unreadable=allow_unreadable,
                    discarded=partial(_discarded, settings, console),
                )
        finally:
            await nc.close()


async def _discarded(settings: Settings, console: Console) -> Accepted:
    """The events that operators have discarded from read models; none where the database cannot be asked."""
    places: set[tuple[str, int]] = set()
    try:
        for url in (await Owners.at(connected(settings).database_url)).urls():
            conn = await connect(url, "vestnik export")
            try:
                found = ((each.stream, each.sequence) async for each in kept_letters.discarded(conn, _EVERY))
                async with aclosing(found):
                    places.update([place async for place in found])
            finally:
                await conn.close()
    except (Failure, VestnikError, DatabaseError, OSError) as error:
        console.print(f"[yellow]note[/]: no database says what was discarded: {escape(str(error))}", highlight=False)
    return lambda stream, sequence: (stream, sequence) in places


def _name(events: list[UnreadableEvent], count: int, console: Console) -> None:
    for event in events:
        console.print(f"[yellow]cannot be read[/] {escape(str(event))}", highlight=False)
    if count > len(events):
        console.print(f"[yellow]cannot be read[/] {count:,} events in all", highlight=False)
