"""`vestnik status`: shows streams, projections and services, once or periodically."""

import asyncio
import logging
import sys

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from infra.cli.output.tables import console
from infra.cli.system.status_tables import problems, tables
from infra.operator_errors import OperatorError
from infra.runtime.run_file import with_running_addresses
from infra.settings import Settings
from services.operator.system_status import Status, collect_status

_INTERVAL = 1.0


@click.command()
@click.option("--watch", is_flag=True, help="Repeat until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3_600),
    help=f"Seconds between updates of --watch; default: {_INTERVAL:g}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, one per line.")
def status(watch: bool, interval: float | None, as_json: bool) -> None:
    """Shows the number of events in each stream, the progress of each projection, and the state of each service.

    The exit code is 1 if NATS or PostgreSQL does not answer; everything else is still shown.
    """
    if interval is not None and not watch:
        raise click.UsageError("--interval needs --watch")
    # The tables report what is unreachable; the connection's log lines would break them up.
    logging.getLogger("infra.runtime.connections").setLevel(logging.CRITICAL)
    if watch:
        asyncio.run(_watch(interval or _INTERVAL, as_json=as_json))
        return
    state = asyncio.run(collect_status(with_running_addresses(Settings.load())))
    if as_json:
        _print_line(state)
    else:
        shown = console()
        shown.print(tables(state, shown.width))
    for line in problems(state):
        click.echo(f"vestnik: {line}", err=True)
    if state.unreachable:
        sys.exit(1)


async def _watch(interval: float, *, as_json: bool) -> None:
    """Polls until it is interrupted; finds a system again that was restarted meanwhile."""
    settings, shown = Settings.load(), console()
    # The first poll fails like one without --watch.
    state: Status | OperatorError = await collect_status(with_running_addresses(settings))
    moves = shown.is_terminal and not shown.is_dumb_terminal and not as_json
    with Live(console=shown, auto_refresh=False, transient=False) if moves else _Lines(shown) as view:
        while True:
            if as_json:
                if isinstance(state, Status):
                    _print_line(state)
            else:
                view.update(_shown(state, shown.width), refresh=True)
            await asyncio.sleep(interval)
            state = await _collect(settings)


async def _collect(settings: Settings) -> Status | OperatorError:
    try:
        return await collect_status(with_running_addresses(settings))
    except OperatorError as failure:
        return failure


def _shown(state: Status | OperatorError, width: int) -> RenderableType:
    if isinstance(state, OperatorError):
        return Text(str(state), style="red")
    return Group(tables(state, width), *(Text(line, style="red") for line in problems(state)))


class _Lines:
    """Prints each status below the previous one, where the output cannot be redrawn."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self, renderable: RenderableType, *, refresh: bool) -> None:
        self._console.print(renderable)
        self._console.file.flush()


def _print_line(state: Status) -> None:
    sys.stdout.write(msgspec.json.encode(state).decode() + "\n")
    sys.stdout.flush()
