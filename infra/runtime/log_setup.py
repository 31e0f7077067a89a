"""Logging: one line per event on standard error, readable as it is; the collector adds a prefix."""

import logging
import sys

from infra.settings import Settings

# Libraries whose INFO messages are noise to an operator.
_QUIET = (
    "grpclib",
    "nats",
    "psycopg",
    "psycopg.pool",
    "uvicorn",
    "uvicorn.error",
    "httpx",
    "aiohttp",
    "hpack",
)


def configure_logging(settings: Settings) -> None:
    """Sends all logs of the process to standard error, from the level in the settings upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
