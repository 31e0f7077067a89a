"""The AsyncAPI document is valid for version 3.0.0 and contains every event and subject."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from contracts.aggregate_types import AGGREGATE_TYPES
from contracts.catalogue import EVENTS
from contracts.envelope import Envelope
from contracts.subjects import PUBLIC_FILTERS, STREAMS
from infra.devtools.asyncapi import document, text

Json = dict[str, Any]

# The fields that the specification has for each kind of object, apart from `x-…`; servers and bindings are left out.
ALLOWED = {
    "document": {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"},
    "channel": {"address", "title", "description", "messages", "parameters"},
    "operation": {"action", "channel", "messages", "summary"},
    "message": {"name", "title", "summary", "contentType", "correlationId", "headers", "payload"},
}


@pytest.fixture(scope="module")
def asyncapi() -> Json:
    body: Json = msgspec.json.decode(text())
    return body


def objects(asyncapi: Json) -> Iterator[tuple[str, Json]]:
    yield "document", asyncapi
    for kind, section in (("channel", asyncapi["channels"]), ("operation", asyncapi["operations"])):
        yield from ((kind, part) for part in section.values())
    yield from (("message", message) for message in asyncapi["components"]["messages"].values())


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def resolve(asyncapi: Json, reference: str) -> Any:  # noqa: ANN401 - whatever a pointer leads to
    node: Any = asyncapi
    for token in reference.removeprefix("#/").split("/"):
        node = node[token]
    return node


def test_it_contains_only_fields_of_the_specification(asyncapi: Json) -> None:
    assert asyncapi["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(asyncapi["info"])
    for kind, part in objects(asyncapi):
        assert {key for key in part if not key.startswith("x-")} <= ALLOWED[kind], kind


def test_every_reference_leads_somewhere(asyncapi: Json) -> None:
    targets = set(references(asyncapi))
    assert targets
    for reference in targets:
        assert resolve(asyncapi, reference), reference


def test_every_event_is_on_its_subject(asyncapi: Json) -> None:
    placed = {kind: channel["address"] for channel in asyncapi["channels"].values() for kind in channel["messages"]}
    assert placed == {event.TYPE: channel.address for channel in AGGREGATE_TYPES for event in channel.events}
    assert set(placed) == set(asyncapi["components"]["messages"]) == set(EVENTS)


def test_an_address_has_exactly_its_parameters(asyncapi: Json) -> None:
    for channel in asyncapi["channels"].values():
        named = {part[1:-1] for part in channel["address"].split(".") if part.startswith("{")}
        assert named == set(channel["parameters"])
        assert all(parameter["description"] for parameter in channel["parameters"].values())


def test_each_subject_is_written_by_its_owner_and_read_by_others(asyncapi: Json) -> None:
    for name, channel in asyncapi["channels"].items():
        operations = [op for op in asyncapi["operations"].values() if op["channel"]["$ref"] == f"#/channels/{name}"]
        assert sorted(op["action"] for op in operations) == ["receive", "send"]
        for operation in operations:
            allowed = {f"#/channels/{name}/messages/{kind}" for kind in channel["messages"]}
            assert {message["$ref"] for message in operation["messages"]} == allowed
        assert [op["x-service"] for op in operations if op["action"] == "send"] == [STREAMS[channel["x-stream"]]]


@pytest.mark.parametrize("kind", EVENTS)
def test_a_payload_is_the_whole_envelope(asyncapi: Json, kind: str) -> None:
    message, event = asyncapi["components"]["messages"][kind], EVENTS[kind]
    payload = message["payload"]
    assert set(payload["properties"]) == set(Envelope.__struct_fields__)
    assert payload["properties"]["type"]["const"] == kind
    assert payload["properties"]["schema"]["const"] == event.SCHEMA
    data = resolve(asyncapi, payload["properties"]["data"]["$ref"])
    assert set(data["properties"]) == set(event.__struct_fields__)


def test_what_is_private_and_what_is_personal_is_marked(asyncapi: Json) -> None:
    messages = asyncapi["components"]["messages"]
    assert {kind for kind, message in messages.items() if message["x-private"]} == {
        kind for kind, event in EVENTS.items() if event.PRIVATE
    }
    assert asyncapi["channels"]["credential"]["x-private"] is True
    assert asyncapi["components"]["schemas"]["MessageSent"]["properties"]["text"]["x-personal"] is True


def test_every_stream_is_there_with_its_owner(asyncapi: Json) -> None:
    streams = asyncapi["x-streams"]
    assert {name: stream["owner"] for name, stream in streams.items()} == STREAMS
    assert {name: stream["public"] for name, stream in streams.items() if stream["public"]} == PUBLIC_FILTERS


def test_it_is_the_same_each_time() -> None:
    assert document() == msgspec.json.decode(text())
    assert text() == text()
