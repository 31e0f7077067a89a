"""`vestnik load`: replays a recorded history of messages against a running gateway."""

import sys
from pathlib import Path

import click
import msgspec
import uvloop

from infra.cli.output import tables
from infra.load.history_file import read_history
from infra.load.report import describe
from infra.load.run import Order
from infra.load.run import load as run_load
from infra.runtime.run_file import NotRunning, find
from infra.settings import Settings

_STOPPED = 130


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--url", help="URL of the gateway; default: the one running on this machine.")
@click.option(
    "--in-flight", default=16, show_default=True, type=click.IntRange(1, 1024), help="Number of requests in flight."
)
@click.option("--limit", type=click.IntRange(1), help="Replay only the first messages of the file.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="State file; default: one per history in the data directory."
)
@click.option(
    "--mail-dir",
    type=click.Path(path_type=Path),
    help="Folder to which the system writes mail; default: in its data directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def load(
    file: Path,
    url: str | None,
    in_flight: int,
    limit: int | None,
    state: Path | None,
    mail_dir: Path | None,
    as_json: bool,
) -> None:
    """Replays the history in FILE: tab-separated sender, recipient, unix_time, text, with a header; plain or gzip.

    Everyone in it is registered, verified and logged in, those who write to each other become friends, and every
    message is sent, in order within each conversation. Ctrl-C stops it; the same command resumes, and a repetition
    sends nothing twice. The passwords of these accounts are derived from the file: for sizing and demonstrations only.
    """
    settings = Settings.load()
    console = tables.console(stderr=True)
    history = read_history(file, limit)
    order = Order(
        history=history,
        url=(url or _gateway(settings)).rstrip("/"),
        state=state or settings.data_dir / "load" / f"{history.digest[:16]}.jsonl",
        mail_dir=mail_dir or settings.data_dir / "mail",
        in_flight=in_flight,
    )
    report = uvloop.run(run_load(order, console))
    click.echo(msgspec.json.encode(report).decode() if as_json else describe(report))
    if report.stopped:
        sys.exit(_STOPPED)
    sys.exit(1 if report.errors else 0)


def _gateway(settings: Settings) -> str:
    """The gateway of the system that runs with the data directory; otherwise the address in the settings."""
    try:
        return find(settings.data_dir).gateway_url
    except NotRunning:
        return f"http://{settings.host}:{settings.port}"
