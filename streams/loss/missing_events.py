"""The events that a stream lacks, and those whose loss an operator has accepted.

Nothing may delete from a stream of events, so its sequences are dense: one without an event is a loss. A damaged block
shows in two ways. The server drops what it cannot read when it starts, or it counts the message and skips it in every
answer. A reader of the whole stream notices both.

Accepted losses stand in the stream's own settings, so that they survive the database and are there for every process.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from streams.jetstream.api import JetStream, StreamInfo
from streams.message import Message

_KEY = "vestnik.accepted-losses"
_INFO = msgspec.json.Decoder(StreamInfo)
# Gaps that a sentence names.
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
    """A decision that events are lost for good."""

    first: int
    last: int
    at: datetime
    by: str
    # Whether they were at the stream's end, so that placeholders stand in their places.
    filled: bool = False


_ACCEPTED = msgspec.json.Decoder(list[Accepted])


def accepted(config: dict[str, Any]) -> list[Accepted]:
    """The decisions that the settings of a stream hold, oldest first."""
    found = (config.get("metadata") or {}).get(_KEY)
    return _ACCEPTED.decode(found) if found else []


async def accept(jetstream: JetStream, gaps: Iterable[Gap], by: str, *, filled: bool = False) -> None:
    """Records that the events of these gaps are lost for good; needs the right to change a stream.

    `filled`: placeholders stand in their places.

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

    What a reader did not get may be there: the replica that served it may be the damaged one.

    Raises:
        Refused, RequestFailed: the leader does not tell.
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
    """Of these gaps what no operator has accepted, as the streams' settings say now.

    Raises:
        Refused, RequestFailed: the server does not tell.
    """
    streams = by_stream(gaps)
    known = {stream: accepted((await jetstream.info(stream)).config) for stream in streams}
    return unaccepted((gap for of_stream in streams.values() for gap in of_stream), known)


def unaccepted(gaps: Iterable[Gap], known: dict[str, list[Accepted]]) -> list[Gap]:
    """The gaps without what is accepted, `known` by stream; sorted and joined."""
    left: list[Gap] = []
    for stream, of_stream in by_stream(gaps).items():
        pieces = of_stream
        for decision in known.get(stream, []):
            pieces = [rest for gap in pieces for rest in _without(gap, decision.first, decision.last)]
        left += pieces
    return left


def by_stream(gaps: Iterable[Gap]) -> dict[str, list[Gap]]:
    """The gaps of each stream, sorted; those that overlap or touch are one."""
    found: dict[str, list[Gap]] = {}
    for gap in sorted(gaps):
        of_stream = found.setdefault(gap.stream, [])
        if of_stream and gap.first <= of_stream[-1].last + 1:
            before = of_stream.pop()
            of_stream.append(Gap(gap.stream, before.first, max(before.last, gap.last)))
        else:
            of_stream.append(gap)
    return found


def named(gaps: Iterable[Gap]) -> str:
    """The first few gaps as an operator writes them, and how many more there are."""
    every = list(gaps)
    shown = ", ".join(map(str, every[:_SHOWN]))
    return shown + (f" and {len(every) - _SHOWN:,} more gaps" if len(every) > _SHOWN else "")


def _without(gap: Gap, first: int, last: int) -> list[Gap]:
    if last < gap.first or gap.last < first:
        return [gap]
    parts = (Gap(gap.stream, gap.first, first - 1), Gap(gap.stream, last + 1, gap.last))
    return [part for part in parts if part.first <= part.last]
