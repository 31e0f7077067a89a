"""Histories that replaced another one: an import, or a restored backup, which may lack what was stored after it.

They are recorded in the settings of the stream NOTARY: the notary then ends the tree of every stream, so that heads
that were signed after the export or the backup are void.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from contracts.events.notary import EndReason
from contracts.subjects import NOTARY
from streams.jetstream.api import JetStream, StreamInfo
from streams.jetstream.requests import RequestFailed

_KEY = "vestnik.replaced"
_ATTEMPTS = 3
_INFO = msgspec.json.Decoder(StreamInfo)


class Replaced(msgspec.Struct, frozen=True):
    """One import, or one restored backup."""

    reason: EndReason
    at: datetime
    # The id of the export; of a backup, empty.
    source: str = ""

    @property
    def cause(self) -> str:
        return f"{self.reason} {self.source or self.at.isoformat()}"


_REPLACED = msgspec.json.Decoder(list[Replaced])


def replaced(config: dict[str, Any]) -> list[Replaced]:
    """The replaced histories recorded in the settings of the stream NOTARY, oldest first."""
    metadata = (config.get("metadata") or {}).get(_KEY)
    return _REPLACED.decode(metadata) if metadata else []


async def record_replaced(jetstream: JetStream, reason: EndReason, source: str = "") -> None:
    """Records that the streams have another history from now on; needs the rights of `topology`.

    The same source is recorded once. The settings are read again after the write, since another writer may have
    replaced them at the same time.

    Raises:
        Refused, RequestFailed: it was not recorded.
    """
    entry = Replaced(reason, datetime.now(UTC), source)
    for _ in range(_ATTEMPTS):
        config = (await jetstream.info(NOTARY)).config
        known = replaced(config)
        if entry in known or (source and any((other.reason, other.source) == (reason, source) for other in known)):
            return
        metadata = (config.get("metadata") or {}) | {_KEY: msgspec.json.encode([*known, entry]).decode()}
        await jetstream.ask(f"STREAM.UPDATE.{NOTARY}", config | {"metadata": metadata}, _INFO)
    if entry not in replaced((await jetstream.info(NOTARY)).config):
        raise RequestFailed(f"the settings of {NOTARY} are changed by others at the same time")
