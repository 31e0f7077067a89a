"""`<data dir>/run.json`: the addresses of the system running on this machine, written when its processes start."""

from pathlib import Path

import msgspec

from infra import durable_files
from infra.operator_errors import OperatorError
from infra.runtime.data_dir import is_claimed
from infra.settings import Settings

NAME = "run.json"


class NotRunning(OperatorError):
    """No system runs with this data directory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"Vestnik is not running with the data directory {folder}; `vestnik up` starts it")


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """A running system: what another process needs to reach its parts."""

    pid: int
    gateway_url: str
    nats_url: str
    database_url: str
    addresses: dict[str, list[str]]
    """host:port of every process, by service; `profile_rest` is profile's REST edge."""
    metrics: dict[str, list[str]]
    """URL of the metrics of every process, by service."""


def write(folder: Path, running: RunFile) -> None:
    """Writes the file for its owner alone: it holds passwords."""
    durable_files.replace(folder / NAME, msgspec.json.format(msgspec.json.encode(running)))


def remove(folder: Path) -> None:
    (folder / NAME).unlink(missing_ok=True)


def find(folder: Path) -> RunFile:
    """The system that runs with this data directory.

    Raises:
        NotRunning: there is none, or its servers are not up yet.
    """
    try:
        running = msgspec.json.decode((folder / NAME).read_bytes(), type=RunFile)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        raise NotRunning(folder) from None
    if not is_claimed(folder):
        raise NotRunning(folder)
    return running


def with_running_addresses(settings: Settings) -> Settings:
    """Fills in addresses that the settings leave out with those of the running system.

    Settings that name both a NATS server and a database describe a deployment and are returned unchanged.

    Raises:
        NotRunning: something is missing, and no system runs with the data directory.
    """
    if settings.nats_url and settings.database_url:
        return settings
    running = find(settings.data_dir)
    return msgspec.structs.replace(
        settings.with_addresses(running.addresses),
        nats_url=settings.nats_url or running.nats_url,
        database_url=settings.database_url or running.database_url,
        public_url=settings.public_url or running.gateway_url,
    )
