"""`vestnik import`: restores an export in an empty system."""

import sys
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console
from rich.markup import escape

from infra.archive.importer import Imported, Steps, import_file
from infra.archive.stream_access import reach
from infra.archive.validation import ValidationReport, validate
from infra.cli.output import tables
from infra.cli.output.progress_bar import Bar
from infra.settings import Settings


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", "check_only", is_flag=True, help="Only check the file and list all damage.")
@click.option(
    "--passwords-lost",
    is_flag=True,
    help="Import without the export's password.key: all users have to reset their password by mail.",
)
@click.option("--allow-unreadable", is_flag=True, help="Also import events that this release cannot read, unchanged.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def import_(file: Path, check_only: bool, passwords_lost: bool, allow_unreadable: bool, as_json: bool) -> None:
    """Imports an export into an empty system: each event at its original sequence, byte for byte.

    The whole FILE is checked before the first event is appended. The system may be stopped, or running: then its
    services pause during the import and restart by themselves. After any interruption the same command resumes. The
    secrets folder needs the `password.key` that the export was made with.

    A FILE with events that this release cannot read is refused, except for those that its export has accepted.
    """
    console = tables.console(stderr=True)
    if check_only:
        with Bar(console, "check", "MiB") as bar:
            report = validate(file, bar.move, allow_unreadable=allow_unreadable)
        _say_verdict(report, console, as_json=as_json)
        sys.exit(0 if report.sound and not report.refused else 1)
    imported = uvloop.run(
        _run(Settings.load(), file, console, passwords_lost=passwords_lost, allow_unreadable=allow_unreadable)
    )
    if as_json:
        sys.stdout.write(msgspec.json.encode(imported).decode() + "\n")
        return
    before = f", {imported.found:,} of them before the interruption" if imported.found else ""
    console.print(
        f"[green]{escape(imported.file)}[/]: {imported.events:,} events imported{before}, in {imported.seconds:,.1f} s"
        f" ({imported.events_per_second:,.0f} events/s)"
    )
    for note in imported.notes:
        console.print(f"[yellow]note[/]: {escape(note)}", highlight=False)


async def _run(
    settings: Settings, file: Path, console: Console, *, passwords_lost: bool, allow_unreadable: bool
) -> Imported:
    with Bar(console, "check", "MiB") as checking, Bar(console, "import", "events") as appending:
        steps = Steps(checking.move, appending.move, console.print)
        return await import_file(
            file,
            reach(settings, make=True),
            steps,
            passwords_lost=passwords_lost,
            allow_unreadable=allow_unreadable,
        )


def _say_verdict(report: ValidationReport, console: Console, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        return
    if report.id is not None:
        console.print(
            f"{escape(report.file)}: export {report.id} of {report.created_at}, release {report.version},"
            f" {report.events:,} events"
        )
    for stream in report.streams:
        console.print(f"  {stream.name}: {stream.events:,} events, up to {stream.last_sequence:,}")
    for damage in report.damages:
        console.print(f"[red]damaged[/] {escape(damage)}", highlight=False)
    for event in report.unreadable_events:
        console.print(f"[yellow]cannot be read[/] {escape(str(event))}", highlight=False)
    if report.unreadable > len(report.unreadable_events):
        console.print(f"[yellow]cannot be read[/] {report.unreadable:,} events in all", highlight=False)
    if report.refused:
        console.print(f"[red]not for this release[/]: {escape(report.file)} {escape(report.refused)}", highlight=False)
    if report.sound:
        console.print("[green]whole and sound[/]")
