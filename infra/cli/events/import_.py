"""`vestnik import`: restores an export in an empty system."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console

from infra.archive.importer import Imported, Steps, import_file
from infra.archive.stream_access import Store, reach
from infra.archive.validation import ValidationReport, validate
from infra.cli.actions.identity import Reason, actor
from infra.cli.actions.recording import flush, recorder
from infra.cli.output import tables
from infra.cli.output.progress_bar import Bar
from infra.cli.output.tables import literal
from infra.personal_data import key_backup
from infra.settings import Settings


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", "check_only", is_flag=True, help="Only check the file and list all damage.")
@click.option(
    "--passwords-lost",
    is_flag=True,
    help="Import without the export's password.key: all users have to reset their password by mail.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    help="A backup of the keys (`vestnik keys back-up`), for the claims.key that the secrets folder lacks.",
)
@click.option("--allow-unreadable", is_flag=True, help="Also import events that this release cannot read, unchanged.")
@click.option(
    "--reason", type=Reason(), help="The reason, recorded permanently in plain form; needed unless with --check."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def import_(
    file: Path,
    check_only: bool,
    passwords_lost: bool,
    keys: Path | None,
    allow_unreadable: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Imports an export into an empty system: each event at its original sequence, byte for byte.

    The whole FILE is checked before the first event is appended. The system may be stopped, or running: then its
    services pause during the import and restart by themselves. After any interruption the same command resumes. The
    secrets folder needs the `password.key` and the `claims.key` that the export was made with.

    A FILE with events that this release cannot read is refused, except for those that its export has accepted.
    """
    console = tables.console(stderr=True)
    if check_only:
        with Bar(console, "check", "MiB") as bar:
            report = validate(file, bar.move, allow_unreadable=allow_unreadable)
        _say_verdict(report, console, as_json=as_json)
        sys.exit(0 if report.sound and not report.refused else 1)
    if reason is None:
        raise click.UsageError("an import needs a --reason")
    imported = uvloop.run(
        _run(
            Settings.load(),
            file,
            console,
            claims_key=None if keys is None else key_backup.claims_key(keys),
            passwords_lost=passwords_lost,
            allow_unreadable=allow_unreadable,
            reason=reason,
        )
    )
    if as_json:
        sys.stdout.write(msgspec.json.encode(imported).decode() + "\n")
        return
    before = f", {imported.found:,} of them before the interruption" if imported.found else ""
    console.print(
        f"[green]{literal(imported.file)}[/]: {imported.events:,} events imported{before}, in {imported.seconds:,.1f} s"
        f" ({imported.events_per_second:,.0f} events/s)"
    )
    for note in imported.notes:
        console.print(f"[yellow]note[/]: {literal(note)}", highlight=False)


async def _run(
    settings: Settings,
    file: Path,
    console: Console,
    *,
    claims_key: bytes | None,
    passwords_lost: bool,
    allow_unreadable: bool,
    reason: str,
) -> Imported:
    details = {"passwords_lost": "yes" if passwords_lost else "", "unreadable": "yes" if allow_unreadable else ""}
    with Bar(console, "check", "MiB") as checking, Bar(console, "import", "events") as appending:
        steps = Steps(checking.move, appending.move, console.print)
        return await import_file(
            file,
            _recorded(settings, file, details, reason),
            steps,
            claims_key=claims_key,
            passwords_lost=passwords_lost,
            allow_unreadable=allow_unreadable,
        )


@asynccontextmanager
async def _recorded(settings: Settings, file: Path, details: dict[str, str], reason: str) -> AsyncIterator[Store]:
    """The system to import into, entered once the file is known to be good: from then on the import is recorded.

    The act waits in a file of the secrets folder until the streams are complete.
    """
    async with reach(settings, make=True) as store:
        recording = await recorder(store.settings, None)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(flush, store.settings)
            await stack.enter_async_context(
                recording.acting(actor(), "archive.import", target=str(file), details=details, reason=reason)
            )
            yield store


def _say_verdict(report: ValidationReport, console: Console, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        return
    if report.id is not None:
        console.print(
            f"{literal(report.file)}: export {report.id} of {report.created_at}, release {report.version},"
            f" {report.events:,} events"
        )
    for stream in report.streams:
        console.print(f"  {stream.name}: {stream.events:,} events, up to {stream.last_sequence:,}")
    for damage in report.damages:
        console.print(f"[red]damaged[/] {literal(damage)}", highlight=False)
    for event in report.unreadable_events:
        console.print(f"[yellow]cannot be read[/] {literal(str(event))}", highlight=False)
    if report.unreadable > len(report.unreadable_events):
        console.print(f"[yellow]cannot be read[/] {report.unreadable:,} events in all", highlight=False)
    if report.refused:
        console.print(
            f"[red]not for this release[/]: {literal(report.file)} {literal(report.refused)}", highlight=False
        )
    if report.sound:
        console.print("[green]whole and sound[/]")
