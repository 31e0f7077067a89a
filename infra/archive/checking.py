"""Whether a file can be imported: whole, sound, and nothing in it that this release would not understand."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from contracts.catalogue import EVENTS
from contracts.subjects import STREAMS, stream_of
from infra.archive.damage import Damage, Damaged
from infra.archive.layout import End, Header, StreamInFile
from infra.archive.reader import Block, Checked, check
from infra.failures import Failure

# `vestnik`, the service, and at least one more.
_LEAST_TOKENS = 3


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a look into the file found."""

    file: str
    sound: bool
    # Each says where and what; the first hundred.
    damages: list[str]
    # Why this release does not import the file, sound as it is.
    refused: str | None
    # Of the export; None where not even its header can be read.
    id: str | None = None
    # Of the product that wrote it.
    version: str | None = None
    created_at: str | None = None
    streams: list[StreamInFile] = []
    events: int = 0


class Foreign(Failure):
    """The file holds what this release does not know."""


def verdict(path: Path, progress: Callable[[int, int], None]) -> Verdict:
    """Reads the whole file and says what it is and what is wrong with it.

    Raises:
        Failure: it cannot be read at all, is no export, or has a newer format.
    """
    checked = _checked(path, progress)
    header, end = checked.header, checked.end
    damages = [str(damage) for damage in checked.damages]
    if header is None:
        return Verdict(file=str(path), sound=False, damages=damages, refused=None)
    return Verdict(
        file=str(path),
        sound=not damages,
        damages=damages,
        refused=_foreign(header, end) if end is not None else None,
        id=header.id,
        version=header.version,
        created_at=header.created_at.isoformat(),
        streams=header.streams,
        events=header.events,
    )


def importable(path: Path, progress: Callable[[int, int], None]) -> tuple[Header, End]:
    """Makes sure of the whole file before anything is done with it.

    Raises:
        Failure: it is damaged, is no export, or comes from a later release.
    """
    checked = _checked(path, progress)
    header, end = checked.header, checked.end
    if checked.damages or header is None or end is None:
        raise Damaged(str(path), checked.damages)
    if foreign := _foreign(header, end):
        raise Foreign(f"{path} {foreign}")
    return header, end


def _foreign(header: Header, end: End) -> str | None:
    """What of the file this release does not know."""
    if header.product != "vestnik" or header.compression != "zlib":
        return f"was written by {header.product} {header.version}, compressed with {header.compression}"
    if unknown := sorted({stream.name for stream in header.streams} - set(STREAMS)):
        return f"has a stream {unknown[0]}, which this release does not know"
    for name, kind in end.types.items():
        known = EVENTS[name].SCHEMA if name in EVENTS else 0
        if kind.schema > known:
            return (
                f"was written by release {header.version} and has {kind.events:,} events {name} of schema"
                f" {kind.schema}, of which this release knows {f'up to {known}' if known else 'none'}: use that"
                " release, or a later one"
            )
    return None


def _checked(path: Path, progress: Callable[[int, int], None]) -> Checked:
    strangers: list[Damage] = []

    def look(block: Block) -> None:
        for sequence, event in enumerate(block.events, block.first):
            if not _belongs(event.subject, block.stream) and not strangers:
                strangers.append(Damage(0, f"{block.stream} {sequence:,} has a subject of another stream"))

    checked = check(path, progress, look)
    return checked._replace(damages=[*checked.damages, *strangers])


def _belongs(subject: str, stream: str) -> bool:
    tokens = subject.split(".")
    return len(tokens) >= _LEAST_TOKENS and tokens[0] == "vestnik" and all(tokens) and stream_of(subject) == stream
