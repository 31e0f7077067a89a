"""`vestnik up`: runs the whole system on this machine."""

import asyncio
from pathlib import Path

import click
import msgspec

from infra.settings import Settings
from infra.supervisor.log_console import Console
from infra.supervisor.system import System


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Data directory (VESTNIK_DATA_DIR).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the gateway (VESTNIK_PORT); 0: any free one.")
def up(data_dir: Path | None, port: int | None) -> None:
    """Starts NATS, PostgreSQL, every service and the gateway on this machine.

    All logs are combined. Ctrl-C stops everything cleanly, a second one immediately. The data directory is reused at
    the next start.
    """
    overrides = {name: value for name, value in (("data_dir", data_dir), ("port", port)) if value is not None}
    settings = msgspec.structs.replace(Settings.load(), **overrides)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    await System(settings, Console(as_json=settings.log_format == "json")).run()
