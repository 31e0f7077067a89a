"""The AsyncAPI document for clients: valid for version 3.0.0, and equal to what is sent and accepted."""

from typing import Any

import msgspec
import pytest

from contracts.events.profile import ProfileUpdated
from contracts.notification_kinds import PRESENCE, TYPING, LivePresence, LiveTyping
from contracts.values.ids import new_id
from contracts.values.timestamps import rfc3339_of
from services.gateway.http.problems import Problem
from services.gateway.live import profile_updates
from services.gateway.live.fanout import fan_out
from services.gateway.openapi import asyncapi
from services.gateway.route_table import ENDPOINTS
from services.gateway.routes.live import websocket
from tests.unit.infra.devtools.test_asyncapi import references, resolve
from tests.unit.services.gateway.live.test_fanout import CASES, recorded

Json = dict[str, Any]

DOCUMENT: Json = asyncapi.document(ENDPOINTS)
MESSAGES: Json = DOCUMENT["components"]["messages"]
COMMANDS = {endpoint.command: endpoint for endpoint in ENDPOINTS if endpoint.command}
# The fields that the specification defines for each kind of object.
ALLOWED = {
    "document": {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"},
    "channel": {"address", "title", "description", "messages", "bindings"},
    "operation": {"action", "channel", "messages", "summary", "security", "reply", "bindings"},
    "message": {"name", "contentType", "headers", "payload"},
}


def sample_events() -> list[tuple[str, bytes]]:
    """Everything that the gateway can send to a client, by type."""
    events = [
        (outbound.type, data)
        for event, _ in CASES
        for outbound in fan_out(recorded(event))
        for data in outbound.payload_by_user.values()
    ]
    update = recorded(ProfileUpdated(display_name="Anna", bio="", avatar_url=""))
    unchanged = profile_updates._Unchanged(username="anna", verified=True)
    ephemeral = [
        (TYPING, msgspec.json.encode(LiveTyping(new_id()))),
        (PRESENCE, msgspec.json.encode(LivePresence(new_id(), False, rfc3339_of(0)))),
        (PRESENCE, msgspec.json.encode(LivePresence(new_id(), True))),
    ]
    return [*events, (ProfileUpdated.TYPE, profile_updates._completed(update, unchanged)), *ephemeral]


def test_it_holds_only_fields_of_the_specification() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    kinds = {
        "document": [DOCUMENT],
        "channel": list(DOCUMENT["channels"].values()),
        "operation": list(DOCUMENT["operations"].values()),
        "message": list(MESSAGES.values()),
    }
    for kind, definitions in kinds.items():
        for definition in definitions:
            assert set(definition) <= ALLOWED[kind], kind
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_every_reference_leads_somewhere() -> None:
    all_references = set(references(DOCUMENT))
    assert all_references
    for reference in all_references:
        assert resolve(DOCUMENT, reference), reference
    used = {ref.rpartition("/")[2] for ref in all_references if ref.startswith("#/components/messages/")}
    assert used == set(MESSAGES)


def test_every_event_that_can_be_sent_is_there_and_no_other() -> None:
    sent = {kind for kind, _ in sample_events()}
    assert set(DOCUMENT["channels"]["events"]["messages"]) == sent
    frames = {name for name in DOCUMENT["channels"]["socket"]["messages"] if name.startswith("frame.")}
    assert frames == {f"frame.{kind}" for kind in (*sent, "heartbeat")}


def test_an_event_is_of_the_shape_that_is_described() -> None:
    for kind, data in sample_events():
        decoded: Json = msgspec.json.decode(data)
        described = resolve(DOCUMENT, MESSAGES[kind]["payload"]["$ref"])
        assert set(described["required"]) <= set(decoded) <= set(described["properties"]), kind
        frame = MESSAGES[f"frame.{kind}"]["payload"]
        position = set() if kind in asyncapi.EPHEMERAL_EVENTS else {"id"}
        required = set() if kind in asyncapi.WITHOUT_POSITION_AT_TIMES else position
        assert set(frame["properties"]) == {"event", "data"} | position
        assert set(frame["required"]) == {"event", "data"} | required
        assert set(MESSAGES[kind]["headers"]["properties"]) == {"event"} | position
        assert set(MESSAGES[kind]["headers"]["required"]) == {"event"} | required
        assert frame["properties"]["data"] == MESSAGES[kind]["payload"]


def test_every_command_is_there_with_its_answers() -> None:
    receiving = {
        name: operation for name, operation in DOCUMENT["operations"].items() if operation["action"] == "receive"
    }
    assert set(receiving) == {f"{name}Command" for name in COMMANDS}
    for name, endpoint in COMMANDS.items():
        answers = {answer["$ref"].rpartition("/")[2] for answer in receiving[f"{name}Command"]["reply"]["messages"]}
        assert answers == {f"answer.{name}", "answer.problem"}
        status = MESSAGES[f"answer.{name}"]["payload"]["properties"]["status"]
        assert status["enum"] == sorted(endpoint.answers)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_as_it_is_described_is_accepted(name: str) -> None:
    payload = MESSAGES[f"command.{name}"]["payload"]
    endpoint, properties = COMMANDS[name], payload["properties"]
    in_path = {field for field in ("user_id", "message_id") if f"{{{field}}}" in endpoint.path}
    assert {"user_id", "message_id"} & set(properties) == in_path
    assert set(properties) <= set(websocket.Command.__struct_fields__)
    assert set(payload["required"]) == {"id", "command", *in_path} | ({"body"} if endpoint.takes_body else set())
    assert properties["command"]["const"] == name
    if endpoint.takes_body:
        described = resolve(DOCUMENT, properties["body"]["$ref"])
        assert set(described["properties"]) == set(endpoint.body.__struct_fields__)
    else:
        assert "body" not in properties
    assert payload["properties"]["id"]["maxLength"] == 64


def test_an_answer_has_the_fields_of_the_struct_that_encodes_it() -> None:
    fields = set(websocket.Answer.__struct_fields__)
    for name in COMMANDS:
        assert set(MESSAGES[f"answer.{name}"]["payload"]["properties"]) <= fields
    problem = MESSAGES["answer.problem"]["payload"]
    assert set(problem["properties"]) == fields - {"position"}
    assert problem["properties"]["body"]["$ref"].endswith(f"/{Problem.__name__}")
