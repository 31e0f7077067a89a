"""The events that a new projection counts: chosen by type or stream, imported, and as samples in its tests."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.events.event import Event
from contracts.events.loss import EventsLost
from contracts.services import OPERATOR
from contracts.subjects import PUBLIC_FILTERS, STREAMS
from infra.devtools.scaffold_projection.errors import CannotMake


def chosen(types: Sequence[str], streams: Sequence[str]) -> list[type[Event]]:
    """Returns the events to handle; the stream of the first one decides which service runs the projection.

    Raises:
        CannotMake: there is no such event or stream, or only its owner may read it.
    """
    event_types = {
        event.TYPE: event
        for channel in dict.fromkeys(AGGREGATE_TYPE_OF.values())
        for event in channel.events
        # Placeholders to which nothing reacts.
        if not issubclass(event, EventsLost)
    }
    for stream in streams:
        if stream.upper() not in PUBLIC_FILTERS:
            raise CannotMake(f"there is no stream {stream}; there are: {', '.join(PUBLIC_FILTERS)}")
    event_names = [*types] + [
        kind
        for stream in streams
        for kind, event in event_types.items()
        if AGGREGATE_TYPE_OF[kind].stream == stream.upper() and not event.PRIVATE
    ]
    for kind in event_names:
        if kind not in event_types:
            raise CannotMake(f"there is no event {kind}; there are: {', '.join(sorted(event_types))}")
    events = [event_types[kind] for kind in dict.fromkeys(event_names or ["message.sent"])]
    first = AGGREGATE_TYPE_OF[events[0].TYPE].stream
    if first not in PUBLIC_FILTERS and STREAMS[first] != OPERATOR:
        raise CannotMake(f'{events[0].TYPE} is in {first}, which only a projection with service = "operator" may read')
    for event in events:
        if event.PRIVATE and AGGREGATE_TYPE_OF[event.TYPE].stream != first:
            raise CannotMake(f"{event.TYPE} is private: only a projection whose first event is of {first} may read it")
    return events


def imports_of(kinds: Sequence[type[msgspec.Struct]]) -> Iterator[str]:
    for module in sorted({kind.__module__ for kind in kinds}):
        names = sorted({kind.__name__ for kind in kinds if kind.__module__ == module})
        yield f"from {module} import {', '.join(names)}"


def column_of(event: type[Event]) -> str:
    return event.TYPE.replace(".", "_")


def samples_of(events: Sequence[type[Event]]) -> tuple[str, str]:
    """Functions that make one event of each type, and the imports that they need."""
    samples = [_sample(event) for event in events]
    imports = list(imports_of([*events, *_parts_of(events)]))
    if any("new_id()" in sample for sample in samples):
        imports.append("from contracts.values.ids import new_id")
    if any("datetime(" in sample for sample in samples):
        imports.append("from datetime import UTC, datetime")
    return "\n".join(samples), "\n".join(imports)


def _sample(event: type[Event]) -> str:
    return f"\ndef {column_of(event)}() -> {event.__name__}:\n    return {_made(event)}\n"


def _made(kind: type[msgspec.Struct]) -> str:
    fields = ", ".join(f"{field.name}={_value(field)}" for field in _required(kind))
    return f"{kind.__name__}({fields})"


def _required(kind: type[msgspec.Struct]) -> list[msgspec.structs.FieldInfo]:
    return [field for field in msgspec.structs.fields(kind) if field.required]


def _parts_of(kinds: Sequence[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    """The structs that are required within the others."""
    parts = [field.type for kind in kinds for field in _required(kind) if _is_struct(field.type)]
    return [*parts, *_parts_of(parts)] if parts else []


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _value(field: msgspec.structs.FieldInfo) -> str:
    if _is_struct(field.type):
        return _made(field.type)
    kind = msgspec.json.schema(field.type)
    if field.type is int:
        return "1"
    if kind.get("format") == "date-time":
        moment = datetime(2026, 2, 28)  # noqa: DTZ001 - text of a test
        return f"datetime({moment.year}, {moment.month}, {moment.day}, tzinfo=UTC)"
    if kind.get("type") == "array":
        return "(new_id(),)"
    if kind.get("type") == "object":
        return "{}"
    return "new_id()" if field.name.endswith("_id") and field.name != "client_message_id" else '"text"'
