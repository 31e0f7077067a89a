"""A status as tables for people."""

from collections.abc import Iterator

from rich.console import Group
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from infra.cli.progress import time_left
from projections.engine.status import ProjectionStatus
from services.operator.glance import Status

_COLOURS = {
    "live": "green",
    "serving": "green",
    "building": "yellow",
    "returning": "yellow",
    "interrupted": "yellow",
    "partly": "yellow",
    "not_ready": "yellow",
}
# From so many seconds on a read model's lag is seen by people.
_LATE = 5.0


def tables(found: Status) -> Group:
    """All but what is not reachable."""
    return Group(*_parts(found))


def unreachable(found: Status) -> list[str]:
    """A line for each server that did not answer."""
    return [f"{part.part} is not reachable: {part.reason}" for part in found.unreachable]


def _parts(found: Status) -> Iterator[Table | Text]:
    streams = Table(
        "stream", *map(_number, ("events", "bytes", "last sequence")), title="Streams", title_justify="left"
    )
    for stream in found.streams:
        streams.add_row(stream.name, f"{stream.events:,}", f"{stream.bytes:,}", f"{stream.last_sequence:,}")
    projections = Table(
        "projection",
        *map(_number, ("version", "position", "lag", "lag s", "events/s", "dead letters", "size")),
        "state",
        title="Projections",
        title_justify="left",
    )
    for projection in found.projections:
        projections.add_row(
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
    services = Table("service", "state", title="Services", title_justify="left")
    for service in found.services:
        services.add_row(service.name, _coloured(service.state))
    yield from (table for table in (streams, projections, services) if table.row_count)
    ends = {stream.name: stream.last_sequence for stream in found.streams}
    for stream in found.streams:
        if (missing := stream.last_sequence - stream.events) > 0:
            yield Text(f"{stream.name} lacks {missing:,} of its {stream.last_sequence:,} events", style="red")
    for projection in found.projections:
        for name, sequence in projection.position.items():
            if sequence > ends.get(name, sequence):
                yield Text(
                    f"{projection.name} has applied {name} up to {sequence:,}, and it ends at {ends[name]:,}",
                    style="red",
                )
        if projection.last_error is not None:
            at = f"{projection.last_error.at:%Y-%m-%d %H:%M:%S}"
            yield Text(f"{projection.name}: last error at {at}: {projection.last_error.error}", style="yellow")


def _seconds(projection: ProjectionStatus) -> str:
    if projection.lag_seconds is None:
        return "?"
    text = f"{projection.lag_seconds:,.1f}"
    return f"[red]{text}[/]" if projection.lag_seconds >= _LATE else text


def _letters(projection: ProjectionStatus) -> str:
    failed, parked = projection.dead_letters.failed, projection.dead_letters.parked
    return f"[red]{failed:,} + {parked:,} waiting[/]" if failed or parked else "0"


def _state(projection: ProjectionStatus) -> str:
    progress = projection.progress
    if progress is None:
        return _coloured(projection.state)
    left = time_left(progress.seconds_left)
    return f"{_coloured(projection.state)} {progress.fraction:.0%}{f', {left}' if left else ''}"


def _number(name: str) -> Column:
    return Column(name, justify="right")


def _coloured(state: str) -> str:
    return f"[{_COLOURS.get(state, 'red')}]{escape(state)}[/]"
