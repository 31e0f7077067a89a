"""`vestnik export`: all streams in one file."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import click
import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape

from infra.archive.exporting import Exported
from infra.archive.exporting import export as export_to
from infra.archive.store import reach
from infra.archive.target import standard_output, target
from infra.cli.bar import Bar
from infra.connections import connect_nats
from infra.secrets import Secrets
from infra.settings import Settings

_STANDARD_OUTPUT = "-"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def export(file: Path, force: bool, as_json: bool) -> None:
    """Writes the events of all streams, private ones too, to one compressed FILE with checksums; `-` for a pipe.

    The system may be at work, or stopped: the export ends where the streams end at its start. The file holds password
    hashes, addresses and messages, and is for its owner alone to read. Keys are not in it: keep the folder of secrets
    beside it (docs/howto/back-up.md).
    """
    console = Console(stderr=True)
    piped = str(file) == _STANDARD_OUTPUT
    if piped and as_json:
        raise click.UsageError("--json would stand in the midst of what is written to standard output")
    place = standard_output() if piped else target(file, force=force)
    exported = uvloop.run(_run(Settings.load(), str(file), place, console))
    if as_json:
        sys.stdout.write(msgspec.json.encode(exported).decode() + "\n")
        return
    console.print(
        f"[green]{escape(exported.file)}[/]: {exported.events:,} events, {exported.bytes:,} bytes,"
        f" in {exported.seconds:,.1f} s ({exported.events_per_second:,.0f} events/s)"
    )


async def _run(settings: Settings, name: str, place: AbstractContextManager[IO[bytes]], console: Console) -> Exported:
    async with reach(settings, make=False) as store:
        nc = await connect_nats(store.settings, "operator-export", patience=5.0)
        try:
            with place as file, Bar(console, "export", "events") as bar:
                return await export_to(nc, Secrets.load(settings.secrets_path), file, name, bar.move)
        finally:
            await nc.close()
