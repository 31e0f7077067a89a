"""`vestnik export`: writes all streams to one file."""

import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO

import click
import msgspec
import uvloop
from nats.aio.client import Client as NATS
from rich.console import Console

from infra.archive.exporter import Exported
from infra.archive.exporter import export as export_to
from infra.archive.format.unreadable_events import Accepted, CannotBeImported, UnreadableEvent
from infra.archive.output_file import standard_output, target
from infra.archive.stream_access import reach
from infra.cli.actions.identity import Reason
from infra.cli.actions.recording import acting
from infra.cli.output import tables
from infra.cli.output.progress_bar import Bar
from infra.cli.output.tables import literal
from infra.runtime.connections import connect_nats
from infra.security.secrets import Secrets
from infra.settings import Settings
from projections.engine.dead_letters import discards
from streams.topology import StreamMissing

_STANDARD_OUTPUT = "-"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--allow-unreadable", is_flag=True, help="Also export events that this release cannot read, unchanged.")
@click.option("--reason", type=Reason(), help="The reason; recorded permanently, in plain form.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def export(file: Path, force: bool, allow_unreadable: bool, reason: str | None, as_json: bool) -> None:
    """Writes the events of all streams, private ones too, to one compressed FILE with checksums; `-` for a pipe.

    The system may be running or stopped: the export ends where the streams ended when it started. The file contains
    password hashes, addresses and messages, and only its owner may read it. It contains no signing keys: back up the
    secrets folder too (docs/howto/back-up.md).

    If an import would refuse events that this release cannot read, they are named, nothing is written and the exit code
    is 1. Discarded events (`vestnik dead-letters discard`) are exempt.
    """
    console = tables.console(stderr=True)
    piped = str(file) == _STANDARD_OUTPUT
    if piped and as_json:
        raise click.UsageError("--json and an export to standard output cannot be combined")
    output = standard_output() if piped else target(file, force=force)
    try:
        exported = uvloop.run(_run(Settings.load(), str(file), output, console, allow_unreadable, reason))
    except CannotBeImported as error:
        _name(error.unreadable.named, error.unreadable.count, console)
        raise
    _name(exported.unreadable_events, exported.unreadable, console)
    if as_json:
        sys.stdout.write(msgspec.json.encode(exported).decode() + "\n")
        return
    console.print(
        f"[green]{literal(exported.file)}[/]: {exported.events:,} events, {exported.bytes:,} bytes,"
        f" in {exported.seconds:,.1f} s ({exported.events_per_second:,.0f} events/s)"
    )


async def _run(
    settings: Settings,
    name: str,
    target: AbstractContextManager[IO[bytes]],
    console: Console,
    allow_unreadable: bool,
    reason: str | None,
) -> Exported:
    async with reach(settings, make=False) as store:
        nc = await connect_nats(store.settings, "operator-export", patience=5.0)
        try:
            # The target first: a file that cannot be written is no export. The act is then in the export itself.
            with target as file, Bar(console, "export", "events") as bar:
                async with acting(store.settings, nc, "archive.export", target=name, reason=reason):
                    return await export_to(
                        nc,
                        Secrets.load(settings.secrets_path),
                        file,
                        name,
                        bar.move,
                        allow_unreadable=allow_unreadable,
                        discarded=partial(_discarded, nc),
                    )
        finally:
            await nc.close()


async def _discarded(nc: NATS) -> Accepted:
    """Accepts the events that operators have discarded."""
    try:
        discarded = {(discard.stream, discard.sequence) for discard in await discards.recorded(nc)}
    except StreamMissing:
        # The data directory is older than this stream.
        discarded = set()
    return lambda stream, sequence: (stream, sequence) in discarded


def _name(events: list[UnreadableEvent], count: int, console: Console) -> None:
    for event in events:
        console.print(f"[yellow]cannot be read[/] {literal(str(event))}", highlight=False)
    if count > len(events):
        console.print(f"[yellow]cannot be read[/] {count:,} events in all", highlight=False)
