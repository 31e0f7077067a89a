"""Generates the AsyncAPI 3 document of every event, stream and subject from the contracts.

It describes the whole system: the owner of a stream sends, every service with the permission receives. Servers are
left out, since each installation has its own. https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from contracts.aggregate_types import AGGREGATE_TYPES, AggregateType
from contracts.envelope import Envelope
from contracts.events.event import Event
from contracts.subjects import OPERATOR_FILTERS, PUBLIC_FILTERS, STREAMS, all_of, passes

Json = dict[str, Any]

_ROOT = Path(__file__).resolve().parents[2]
_DESCRIPTION = (
    "Every change of state is an event in a JetStream stream, one literal subject per aggregate. The payload is"
    " the whole envelope. Only the owner of the stream and the readers that the operation names may read `x-private`"
    " channels; `x-personal` fields are personal data and may also be encrypted, as `{key, ciphertext}`. An event"
    " stored with a lower `schema` has that schema in `contracts/schemas/` and is upcast when it is read."
)


def document() -> Json:
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Vestnik's events", "version": _version(), "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in AGGREGATE_TYPES},
        "operations": dict(operation for channel in AGGREGATE_TYPES for operation in _operations(channel)),
        "components": {
            "messages": {event.TYPE: _message(event) for channel in AGGREGATE_TYPES for event in channel.events},
            "schemas": _schemas(),
        },
        "x-streams": {
            stream: {"owner": owner, "subjects": all_of(stream), "public": PUBLIC_FILTERS.get(stream)}
            for stream, owner in STREAMS.items()
        },
    }


def text() -> str:
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


def _version() -> str:
    """The version in pyproject.toml; the installed one may be older."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _channel(channel: AggregateType) -> Json:
    about = " ".join((channel.subject.__doc__ or "").split())
    return {
        "address": channel.address,
        "title": channel.name.replace("_", " "),
        **({"description": about} if about else {}),
        "messages": {event.TYPE: {"$ref": f"#/components/messages/{event.TYPE}"} for event in channel.events},
        "parameters": {name: {"description": _parameter(name)} for name in channel.parameters},
        "x-stream": channel.stream,
        "x-private": channel.private,
    }


def _parameter(name: str) -> str:
    return {
        "key": "HMAC of the address or name with a key of the installation, in hex.",
        "pair_id": "Derived from the ids of the two people.",
        "conversation_id": "Derived from the ids of the two people.",
        "projection": "The projection's name.",
        "version": "The projection's version.",
        "stream": "The event's stream.",
        "sequence": "The event's sequence in its stream.",
    }.get(name, f"The {name.removesuffix('_id')}'s UUIDv7.")


def _operations(channel: AggregateType) -> list[tuple[str, Json]]:
    messages = [{"$ref": f"#/channels/{channel.name}/messages/{event.TYPE}"} for event in channel.events]
    shared = {"channel": {"$ref": f"#/channels/{channel.name}"}, "messages": messages}
    readers = _readers(channel)
    append = {"action": "send", "summary": f"{channel.owner} appends, on the condition of the subject's last sequence."}
    read = {"action": "receive", "summary": f"{readers} reads from any position, in order and without gaps."}
    return [
        (f"append_{channel.name}", append | shared | {"x-service": channel.owner}),
        (f"read_{channel.name}", read | shared | {"x-private": channel.private}),
    ]


def _readers(channel: AggregateType) -> str:
    if not channel.private:
        return "Each party with the permission"
    shared = any(passes(channel.pattern, shared_filter) for shared_filter in OPERATOR_FILTERS)
    return f"{channel.owner}, and each service that keeps read models," if shared else f"{channel.owner} alone"


def _message(event: type[Event]) -> Json:
    about = " ".join((event.__doc__ or "").split()) if event.__doc__ != Event.__doc__ else ""
    return {
        "name": event.TYPE,
        "title": event.__name__,
        **({"summary": about} if about else {}),
        "contentType": "application/json",
        "correlationId": {"location": "$message.payload#/correlation_id"},
        "headers": {
            "type": "object",
            "properties": {"Nats-Msg-Id": {"type": "string", "description": "The event's id."}},
        },
        "payload": _payload(event),
        "x-schema": event.SCHEMA,
        "x-private": event.PRIVATE,
    }


def _payload(event: type[Event]) -> Json:
    """The schema of the envelope with this event's type, schema version and data."""
    described = msgspec.json.schema(Envelope)["$defs"][Envelope.__name__]
    own = {
        "type": {"type": "string", "const": event.TYPE},
        "schema": {"type": "integer", "const": event.SCHEMA},
        "at": {"type": "string", "format": "date-time"},
        "data": {"$ref": f"#/components/schemas/{event.__name__}"},
    }
    return {"type": "object", "properties": described["properties"] | own, "required": described["required"]}


def _schemas() -> Json:
    """The schemas of the events' data and of the structs in them, by class name."""
    events = [event for channel in AGGREGATE_TYPES for event in channel.events]
    _, components = msgspec.json.schema_components(events, ref_template="#/components/schemas/{name}")
    # Converts defaults to JSON values, such as a tuple to a list.
    schemas: Json = msgspec.json.decode(msgspec.json.encode(components))
    return schemas
