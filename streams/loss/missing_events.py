"""Gaps: the events that a stream lacks, and those whose loss an operator has accepted.

Nothing may delete from a stream of events, so its sequences are dense: one without an event is a loss. A damaged block
shows in two ways. The server drops unreadable messages when it starts, or it counts a message and skips it in every
response. A reader of the whole stream notices both.

Accepted losses are stored in the stream's own settings, so that they outlive the database and every process has them.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from streams.jetstream.api import JetStream, StreamInfo
from streams.message import Message

_KEY = "vestnik.accepted-losses"
_INFO = msgspec.json.Decoder(StreamInfo)
# Maximum of gaps that a message names.
_SHOWN = 10


class Gap(msgspec.Struct, frozen=True, order=True):
    """Sequences of a stream that have no event, both ends included."""

    stream: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.stream}:{self.first}" + (f"-{self.last}" if self.last > self.first else "")


class Accepted(msgspec.Struct, frozen=True):
    """An operator's decision that events are lost permanently."""

    first: int
    last: int
    at: datetime
    by: str
    # Whether they were at the stream's end, so that placeholders have their sequences.
    filled: bool = False


_ACCEPTED = msgspec.json.Decoder(list[Accepted])


def accepted(config: dict[str, Any]) -> list[Accepted]:
    """The decisions in a stream's settings, oldest first."""
    metadata = (config.get("metadata") or {}).get(_KEY)
    return _ACCEPTED.decode(metadata) if metadata else []


async def accept(jetstream: JetStream, gaps: Iterable[Gap], by: str, *, filled: bool = False) -> None:
    """Records that the events of these gaps are lost permanently; requires the right to change a stream.

    `filled`: placeholders have their sequences.

    Raises:
        Refused, RequestFailed: some or all of it was not recorded.
    """
    for stream, of_stream in by_stream(gaps).items():
        config = (await jetstream.info(stream)).config
        known = accepted(config)
        fresh = [
            Accepted(gap.first, gap.last, datetime.now(UTC), by, filled)
            for gap in unaccepted(of_stream, {stream: known})
        ]
        if not fresh:
            continue
        metadata = (config.get("metadata") or {}) | {_KEY: msgspec.json.encode([*known, *fresh]).decode()}
        await jetstream.ask(f"STREAM.UPDATE.{stream}", config | {"metadata": metadata}, _INFO)


async def missing(
    jetstream: JetStream, stream: str, first: int, last: int, *, headers: bool = False
) -> tuple[list[Message], list[Gap]]:
    """The events from `first` to `last` that the stream's leader has, and the gaps between them.

    An event that a reader did not receive may exist: the replica that served the reader may be the damaged one.

    Raises:
        Refused, RequestFailed: the leader refused or did not answer.
    """
    messages: list[Message] = []
    gaps: list[Gap] = []
    sequence = first
    while sequence <= last:
        message = await jetstream.next(stream, ">", sequence - 1, headers=headers)
        if message is None or message.sequence > last:
            gaps.append(Gap(stream, sequence, last))
            break
        if message.sequence > sequence:
            gaps.append(Gap(stream, sequence, message.sequence - 1))
        messages.append(message)
        sequence = message.sequence + 1
    return messages, gaps


async def still_unaccepted(jetstream: JetStream, gaps: Iterable[Gap]) -> list[Gap]:
    """The parts of these gaps that no operator has accepted, by the streams' current settings.

    Raises:
        Refused, RequestFailed: the server refused or did not answer.
    """
    streams = by_stream(gaps)
    known = {stream: accepted((await jetstream.info(stream)).config) for stream in streams}
    return unaccepted((gap for of_stream in streams.values() for gap in of_stream), known)


def unaccepted(gaps: Iterable[Gap], known: dict[str, list[Accepted]]) -> list[Gap]:
    """The gaps without the accepted parts; sorted and merged. `known`: the decisions by stream."""
    left: list[Gap] = []
    for stream, of_stream in by_stream(gaps).items():
        pieces = of_stream
        for decision in known.get(stream, []):
            pieces = [rest for gap in pieces for rest in _without(gap, decision.first, decision.last)]
        left += pieces
    return left


def by_stream(gaps: Iterable[Gap]) -> dict[str, list[Gap]]:
    """The gaps of each stream, sorted; overlapping and adjacent ones are merged."""
    gaps_of: dict[str, list[Gap]] = {}
    for gap in sorted(gaps):
        of_stream = gaps_of.setdefault(gap.stream, [])
        if of_stream and gap.first <= of_stream[-1].last + 1:
            before = of_stream.pop()
            of_stream.append(Gap(gap.stream, before.first, max(before.last, gap.last)))
        else:
            of_stream.append(gap)
    return gaps_of


def named(gaps: Iterable[Gap]) -> str:
    """The first gaps in the notation of operators, and the number of the others."""
    every = list(gaps)
    shown = ", ".join(map(str, every[:_SHOWN]))
    return shown + (f" and {len(every) - _SHOWN:,} more gaps" if len(every) > _SHOWN else "")


def _without(gap: Gap, first: int, last: int) -> list[Gap]:
    if last < gap.first or gap.last < first:
        return [gap]
    parts = (Gap(gap.stream, gap.first, first - 1), Gap(gap.stream, last + 1, gap.last))
    return [part for part in parts if part.first <= part.last]
