"""Logging of a service process: everything goes to standard error, one event after the other."""

import logging
import sys
import threading
from types import TracebackType

from infra.logs.log_format import JsonFormatter, TextFormatter
from infra.security.secrets import Secrets
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
    "urllib3",
)
log = logging.getLogger("vestnik")


def configure_logging(settings: Settings, service: str) -> None:
    """Sends all logs of the process to standard error, in the format and from the level in the settings upwards.

    Warnings and unhandled exceptions are logged too, instead of being printed.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(settings, service))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
    sys.excepthook = _log_unhandled
    threading.excepthook = _log_unhandled_in_thread
    sys.unraisablehook = _log_unraisable


def _formatter(settings: Settings, service: str) -> logging.Formatter:
    if settings.log_format == "json":
        return JsonFormatter(service, Secrets.load(settings.secrets_path).logs_key)
    return TextFormatter()


def _log_unhandled(kind: type[BaseException], error: BaseException, stack: TracebackType | None) -> None:
    log.critical("unhandled exception", exc_info=(kind, error, stack))


def _log_unhandled_in_thread(unhandled: threading.ExceptHookArgs) -> None:
    if unhandled.exc_value is not None and not isinstance(unhandled.exc_value, SystemExit):
        name = unhandled.thread.name if unhandled.thread is not None else "of unknown name"
        log.critical("unhandled exception in the thread %s", name, exc_info=unhandled.exc_value)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    log.error("%s", unraisable.err_msg or "exception ignored", exc_info=unraisable.exc_value)
