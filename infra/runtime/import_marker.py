"""The import marker: says that the streams are incomplete, and which import may continue.

It is stored in the metadata of the stream AUTH, so it is visible to every service on every machine and survives a
failure of the import. A service that sees it stops, and does not start until it is gone: events decided on half of the
history would be wrong forever.
"""

import asyncio
import logging

import msgspec
from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.subjects import AUTH
from infra.operator_errors import OperatorError
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused, StreamInfo
from streams.jetstream.requests import RequestFailed

log = logging.getLogger(__name__)
# Seconds between two checks.
EVERY = 1.0
_KEY = "vestnik.import"
_INFO = msgspec.json.Decoder(StreamInfo)
_SAID_EVERY = 30.0


class ImportUnderWay(OperatorError):
    """The streams are incomplete."""

    def __init__(self) -> None:
        super().__init__(
            "an import is running or was interrupted; the same `vestnik import FILE --reason TEXT` completes it. "
            "Until then the streams are incomplete, and no service uses them"
        )


async def get_import_marker(jetstream: JetStream) -> str | None:
    """The text that the import in progress recorded, starting with the id of the export; None if there is none.

    Raises:
        Unavailable: the request was not answered.
        Refused: the server refused the request.
    """
    try:
        config = (await jetstream.info(AUTH)).config
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            return None
        raise
    except RequestFailed as failure:
        raise Unavailable from failure
    return (config.get("metadata") or {}).get(_KEY)


async def set_import_marker(jetstream: JetStream, text: str | None) -> None:
    """Sets the marker, or removes it (`said` is None); needs the rights of `topology`.

    Raises:
        Unavailable: a request was not answered.
        Refused: the server refused a request.
    """
    try:
        config = (await jetstream.info(AUTH)).config
        metadata = {name: value for name, value in (config.get("metadata") or {}).items() if name != _KEY}
        if text is not None:
            metadata[_KEY] = text
        await jetstream.ask(f"STREAM.UPDATE.{AUTH}", config | {"metadata": metadata}, _INFO)
    except RequestFailed as failure:
        raise Unavailable from failure


async def wait_until_complete(nc: Client) -> None:
    """Waits until no import is in progress; logs a warning every 30 s."""
    jetstream = JetStream(nc)
    loop = asyncio.get_running_loop()
    say_at = loop.time()
    while await _seen(jetstream):
        if loop.time() >= say_at:
            log.warning("waiting: %s", ImportUnderWay())
            say_at += _SAID_EVERY
        await asyncio.sleep(EVERY)


async def wait_for_import(nc: Client) -> None:
    """Returns when an import begins."""
    jetstream = JetStream(nc)
    while not await _seen(jetstream):  # noqa: ASYNC110 - another process sets it, no event tells
        await asyncio.sleep(EVERY)


async def _seen(jetstream: JetStream) -> bool:
    try:
        return await get_import_marker(jetstream) is not None
    except (Unavailable, Refused):
        # The server is away: nothing can be appended now, and the next check decides.
        return False
