"""Checks whether a file can be imported: that it is whole, sound, and readable by this release."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from contracts.subjects import STREAMS, stream_of
from infra.archive.format.archive_reader import Block, Checked, check
from infra.archive.format.errors import Damage, Damaged
from infra.archive.format.layout import End, Header, StreamInFile
from infra.archive.format.unreadable_events import UnknownContent, Unreadable, UnreadableEvent, examine, refusal, within

# `vestnik`, the service, and at least one more.
_LEAST_TOKENS = 3


class ValidationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the check of a file."""

    file: str
    sound: bool
    # Where and what; the first hundred.
    damages: list[str]
    # Why this release does not import the file, even if it is sound.
    refused: str | None
    # Events that this release cannot read, whether the file accepts them or not.
    unreadable: int = 0
    # The first hundred of them.
    unreadable_events: list[UnreadableEvent] = []
    # Of the export; None if its header cannot be read.
    id: str | None = None
    # The release that wrote it.
    version: str | None = None
    created_at: str | None = None
    streams: list[StreamInFile] = []
    events: int = 0


def validate(path: Path, progress: Callable[[int, int], None], *, allow_unreadable: bool = False) -> ValidationReport:
    """Reads the whole file and reports its content and its damage.

    Raises:
        OperatorError: it cannot be read, is not an export, or has a newer format.
    """
    checked, unreadable = _checked(path, progress)
    header, end = checked.header, checked.end
    damages = [str(damage) for damage in checked.damages]
    if header is None:
        return ValidationReport(file=str(path), sound=False, damages=damages, refused=None)
    return ValidationReport(
        file=str(path),
        sound=not damages,
        damages=damages,
        refused=_refused(header, end, unreadable, allow_unreadable) if end is not None else None,
        unreadable=unreadable.count,
        unreadable_events=unreadable.named,
        id=header.id,
        version=header.version,
        created_at=header.created_at.isoformat(),
        streams=header.streams,
        events=header.events,
    )


def require_valid(
    path: Path, progress: Callable[[int, int], None], *, allow_unreadable: bool = False
) -> tuple[Header, End, Unreadable]:
    """Checks the whole file before an import.

    `allow_unreadable`: events that this release cannot read are accepted, even if the file does not accept them.

    Raises:
        OperatorError: it is damaged, is not an export, or holds what this release cannot read.
    """
    checked, unreadable = _checked(path, progress)
    header, end = checked.header, checked.end
    if checked.damages or header is None or end is None:
        raise Damaged(str(path), checked.damages)
    if refused := _refused(header, end, unreadable, allow_unreadable):
        raise UnknownContent(f"{path} {refused}")
    return header, end, unreadable


def _refused(header: Header, end: End, unreadable: Unreadable, allow_unreadable: bool) -> str | None:
    """The reason for which this release refuses to import the file; None if it accepts it."""
    if header.product != "vestnik" or header.compression != "zlib":
        return f"was written by {header.product} {header.version}, compressed with {header.compression}"
    if unknown := sorted({stream.name for stream in header.streams} - set(STREAMS)):
        return f"contains the stream {unknown[0]}, which this release does not know"
    left = unreadable.without(within(end.accepted))
    return refusal(left, header.version) if left.count and not allow_unreadable else None


def _checked(path: Path, progress: Callable[[int, int], None]) -> tuple[Checked, Unreadable]:
    strangers: list[Damage] = []
    unreadable = Unreadable()

    def on_block(block: Block) -> None:
        for sequence, event in enumerate(block.events, block.first):
            if not _belongs(event.subject, block.stream) and not strangers:
                strangers.append(Damage(0, f"{block.stream} {sequence:,} has the subject of another stream"))
            if (why := examine(event.payload)[1]) is not None:
                unreadable.add(UnreadableEvent(block.stream, sequence, event.subject, why))

    checked = check(path, progress, on_block)
    return checked._replace(damages=[*checked.damages, *strangers]), unreadable


def _belongs(subject: str, stream: str) -> bool:
    tokens = subject.split(".")
    return len(tokens) >= _LEAST_TOKENS and tokens[0] == "vestnik" and all(tokens) and stream_of(subject) == stream
