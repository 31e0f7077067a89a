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

_KEY = "vestnik.replaced"
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
    """What the settings of the stream NOTARY record, oldest first."""
    metadata = (config.get("metadata") or {}).get(_KEY)
    return _REPLACED.decode(metadata) if metadata else []


async def record_replaced(jetstream: JetStream, reason: EndReason, source: str = "") -> None:
    """Records that the streams have another history from now on; needs the rights of `topology`.

    The same source is recorded once.

    Raises:
        Refused, RequestFailed: it was not recorded.
    """
    config = (await jetstream.info(NOTARY)).config
    known = replaced(config)
    if source and any((entry.reason, entry.source) == (reason, source) for entry in known):
        return
    entries = [*known, Replaced(reason, datetime.now(UTC), source)]
    metadata = (config.get("metadata") or {}) | {_KEY: msgspec.json.encode(entries).decode()}
    await jetstream.ask(f"STREAM.UPDATE.{NOTARY}", config | {"metadata": metadata}, _INFO)
