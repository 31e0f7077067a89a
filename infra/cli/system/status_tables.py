"""Formats a status as tables."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.text import Text

from infra.cli.output.projection_progress import time_left
from infra.cli.output.tables import Column, fitted, literal
from infra.cli.output.terminal_text import printable
from projections.engine.status.status import ProjectionStatus
from services.operator.system_status import Status
from streams.reactions.status import ReactionStatus

_COLOURS = {
    "live": "green",
    "running": "green",
    "serving": "green",
    "building": "yellow",
    "returning": "yellow",
    "interrupted": "yellow",
    "paused": "yellow",
    "partly": "yellow",
    "not_ready": "yellow",
}
# Seconds from which on users notice a read model's lag.
_LATE = 5.0
_STREAMS = (
    Column("stream"),
    Column("events", is_number=True),
    Column("bytes", is_number=True, optional=1),
    Column("last sequence", is_number=True, optional=2),
)
_PROJECTIONS = (
    Column("projection"),
    Column("version", is_number=True, optional=4),
    Column("position", is_number=True, is_list=True, optional=2),
    Column("lag", is_number=True),
    Column("lag s", is_number=True, optional=1),
    Column("events/s", is_number=True, optional=3),
    Column("dead letters", is_number=True, is_text=True),
    Column("size", is_number=True, optional=5),
    Column("state", is_text=True),
)
_REACTIONS = (
    Column("reaction"),
    Column("lag", is_number=True),
    Column("lag s", is_number=True, optional=1),
    Column("waiting", is_number=True, optional=2),
    Column("attempts/s", is_number=True, optional=3),
    Column("parked", is_number=True, is_text=True),
    Column("state", is_text=True),
)
_SERVICES = (Column("service"), Column("state"))


def tables(state: Status, width: int) -> Group:
    """Formats the status without the unreachable parts, fitted to `width` characters."""
    return Group(*_parts(state, width))


def problems(state: Status) -> list[str]:
    """Returns a line for each server that did not answer, or that has no space left."""
    lines = [f"{part.part} is unreachable: {printable(part.reason)}" for part in state.unreachable]
    if state.out_of_space:
        lines.append("nats is out of space and refuses writes; see docs/runbooks/out-of-space.md")
    return lines


def _parts(state: Status, width: int) -> Iterator[RenderableType]:
    streams = [
        (stream.name, f"{stream.events:,}", f"{stream.bytes:,}", f"{stream.last_sequence:,}")
        for stream in state.streams
    ]
    projections = [
        (
            projection.name,
            str(projection.version),
            ", ".join(f"{stream} {sequence:,}" for stream, sequence in projection.position.items()),
            "?" if projection.lag is None else f"{projection.lag:,}",
            _seconds(projection),
            f"{projection.events_per_second:,.1f}",
            _letters(projection),
            decimal(projection.bytes),
            _state(projection),
        )
        for projection in state.projections
    ]
    reactions = [
        (
            reaction.name,
            "?" if reaction.lag is None else f"{reaction.lag:,}",
            _seconds(reaction),
            f"{reaction.waiting:,}",
            f"{reaction.attempts_per_second:,.1f}",
            f"[red]{reaction.parked:,}[/]" if reaction.parked else "0",
            _coloured(reaction.state),
        )
        for reaction in state.reactions
    ]
    services = [(service.name, _coloured(service.state)) for service in state.services]
    for title, columns, rows in (
        ("Streams", _STREAMS, streams),
        ("Projections", _PROJECTIONS, projections),
        ("Reactions", _REACTIONS, reactions),
        ("Services", _SERVICES, services),
    ):
        if rows:
            yield fitted(columns, rows, width, title=title)
    ends = {stream.name: stream.last_sequence for stream in state.streams}
    for stream in state.streams:
        if (missing := stream.last_sequence - stream.events) > 0:
            yield Text(f"{stream.name} lacks {missing:,} of its {stream.last_sequence:,} events", style="red")
    for projection in state.projections:
        for name, sequence in projection.position.items():
            if sequence > ends.get(name, sequence):
                yield Text(
                    f"{projection.name} has applied {name} up to {sequence:,}, and it ends at {ends[name]:,}",
                    style="red",
                )
        if projection.pause is not None:
            at, by = f"{projection.pause.paused_at:%Y-%m-%d %H:%M:%S}", projection.pause.paused_by
            yield _warning(f"{projection.name}: paused at {at} by {by}: {projection.pause.reason}")
        if projection.last_error is not None:
            at = f"{projection.last_error.at:%Y-%m-%d %H:%M:%S}"
            yield _warning(f"{projection.name}: last error at {at}: {projection.last_error.error}")


def _warning(text: str) -> Text:
    return Text(printable(text), style="yellow")


def _seconds(follower: ProjectionStatus | ReactionStatus) -> str:
    if follower.lag_seconds is None:
        return "?"
    text = f"{follower.lag_seconds:,.1f}"
    return f"[red]{text}[/]" if follower.lag_seconds >= _LATE else text


def _letters(projection: ProjectionStatus) -> str:
    failed, parked = projection.dead_letters.failed, projection.dead_letters.parked
    return f"[red]{failed:,} + {parked:,} waiting[/]" if failed or parked else "0"


def _state(projection: ProjectionStatus) -> str:
    progress = projection.progress
    if progress is None:
        return _coloured(projection.state)
    left = time_left(progress.seconds_left)
    return f"{_coloured(projection.state)} {progress.fraction:.0%}{f', {left}' if left else ''}"


def _coloured(state: str) -> str:
    return f"[{_COLOURS.get(state, 'red')}]{literal(state)}[/]"
