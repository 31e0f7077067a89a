"""The AsyncAPI 3 document of the live interface: server-sent events and the WebSocket.

Generated from the declarations that serve it: the structs that encode events, `Command` and `Answer`, and the bodies
of the routes that commands use. Written from the gateway's side: it sends events and answers, and receives commands.
https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import (
    ConversationUpdated,
    MessageDeleted,
    MessageEdited,
    MessageSeen,
    MessageSent,
    ReactionChanged,
)
from contracts.events.profile import ProfileUpdated
from contracts.events.session import SessionRevoked
from contracts.messages import LiveMessage, LiveReaction
from contracts.notification_kinds import (
    BLOCK_CHANGED,
    NOTIFICATION_CREATED,
    NOTIFICATION_READ,
    PRESENCE,
    TYPING,
    LiveBlock,
    LiveConversation,
    LiveFriendship,
    LiveNotification,
    LiveNotificationsRead,
    LivePresence,
    LiveSeen,
    LiveSessionEnd,
    LiveTyping,
)
from services.gateway.http.endpoint import AnyEndpoint
from services.gateway.http.problems import Problem
from services.gateway.openapi import document as openapi
from services.gateway.routes.live import websocket
from services.gateway.routes.live.query import EventsQuery
from services.gateway.routes.profiles import ProfileBody

Json = dict[str, Any]

SSE = "/v1/events"
# The data of each event, by its type.
EVENTS: Mapping[str, type[msgspec.Struct]] = {
    MessageSent.TYPE: LiveMessage,
    MessageEdited.TYPE: LiveMessage,
    MessageDeleted.TYPE: LiveMessage,
    MessageSeen.TYPE: LiveSeen,
    ConversationUpdated.TYPE: LiveConversation,
    ReactionChanged.TYPE: LiveReaction,
    FriendshipCreated.TYPE: LiveFriendship,
    FriendshipAccepted.TYPE: LiveFriendship,
    FriendshipRemoved.TYPE: LiveFriendship,
    BLOCK_CHANGED: LiveBlock,
    ProfileUpdated.TYPE: ProfileBody,
    SessionRevoked.TYPE: LiveSessionEnd,
    NOTIFICATION_CREATED: LiveNotification,
    NOTIFICATION_READ: LiveNotificationsRead,
    TYPING: LiveTyping,
    PRESENCE: LivePresence,
}
# These have no position.
EPHEMERAL_EVENTS = frozenset((TYPING, PRESENCE))
# And this one not always: not with a draft.
WITHOUT_POSITION_AT_TIMES = frozenset((ConversationUpdated.TYPE,))
HEARTBEAT = "heartbeat"
# Fields of a command that stand in the paths of routes.
_IN_PATHS = {"user_id", "message_id"}
_JSON = "application/json"
_SCHEMAS = "#/components/schemas/"
_POSITION = {"type": "string", "description": "Where to resume: `Last-Event-ID` or `since`."}
_DESCRIPTION = """\
Events of the access token's user as they happen, and commands over the same connection. REST is described at \
`/openapi.json`, and how to write a client in docs/reference/live-events.md. Both channels are on the server of this \
document. Ignore events of unknown types: more will be added.
"""


def document(endpoints: Iterable[AnyEndpoint]) -> Json:
    """The whole document."""
    commands = {endpoint.command: endpoint for endpoint in endpoints if endpoint.command}
    bodies = [
        kind
        for endpoint in commands.values()
        for kind in (*([endpoint.body] if endpoint.takes_body else []), *_answered(endpoint))
    ]
    types = dict.fromkeys([*EVENTS.values(), *bodies, websocket.Command, websocket.Answer, Problem, EventsQuery])
    _, schemas = msgspec.json.schema_components(list(types), ref_template=_SCHEMAS + "{name}")
    command, answer, query = (schemas.pop(kind.__name__) for kind in (websocket.Command, websocket.Answer, EventsQuery))
    events = {kind: _event(kind) for kind in EVENTS}
    frames = {f"frame.{kind}": _frame(kind) for kind in (*EVENTS, HEARTBEAT)}
    commands_sent = {f"command.{name}": _command(endpoint, command) for name, endpoint in commands.items()}
    answers = {f"answer.{name}": _answer(endpoint, answer) for name, endpoint in commands.items()}
    answers["answer.problem"] = _refusal(answer)
    document: Json = {
        "asyncapi": "3.0.0",
        "info": {"title": "Vestnik, live", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": _JSON,
        "channels": {
            "events": {
                "address": SSE,
                "title": "Server-sent events",
                "messages": _references(events),
            },
            "socket": {
                "address": websocket.PATH,
                "title": "WebSocket",
                "description": "The token goes into `Authorization`, or beside the subprotocol `vestnik.v1` as"
                " `bearer.<token>`. Each message is one JSON object in a text frame.",
                "messages": _references({**frames, **commands_sent, **answers}),
                "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
            },
        },
        "operations": {
            "followEvents": {
                **_operation("send", "events", events),
                "summary": "Sends the user's events, after `since` or `Last-Event-ID` without a gap.",
                "bindings": {"http": {"method": "GET", "query": query, "bindingVersion": "0.3.0"}},
            },
            "followSocket": {
                **_operation("send", "socket", frames),
                "summary": "Sends the same events; `heartbeat` advances the position.",
            },
            **{
                f"{name}Command": {
                    **_operation("receive", "socket", [f"command.{name}"]),
                    "summary": f"{endpoint.summary}: as {endpoint.method} {endpoint.path}.",
                    "reply": _message_references("socket", [f"answer.{name}", "answer.problem"]),
                }
                for name, endpoint in commands.items()
            },
        },
        "components": {
            "messages": {**events, **frames, **commands_sent, **answers},
            "schemas": schemas,
            "securitySchemes": {"bearerAuth": openapi.BEARER},
        },
    }
    # Converts defaults to JSON, and patterns to JSON Schema's dialect.
    portable: Json = msgspec.json.decode(msgspec.json.encode(openapi.portable(document)))
    return portable


def _references(messages: Mapping[str, Json]) -> Json:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}


def _message_references(channel: str, names: Iterable[str]) -> Json:
    return {
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }


def _operation(action: str, channel: str, names: Iterable[str]) -> Json:
    return {
        "action": action,
        **_message_references(channel, names),
        "security": [{"$ref": "#/components/securitySchemes/bearerAuth"}],
    }


def _event(kind: str) -> Json:
    """A server-sent event, where `event` and `id` are lines of their own."""
    properties: Json = {"event": {"type": "string", "const": kind}}
    if kind not in EPHEMERAL_EVENTS:
        properties["id"] = _POSITION
    return {
        "name": kind,
        "contentType": _JSON,
        "headers": {"type": "object", "properties": properties, "required": _required(kind, properties)},
        "payload": _reference(EVENTS[kind]),
    }


def _frame(kind: str) -> Json:
    data = {"type": "null"} if kind == HEARTBEAT else _reference(EVENTS[kind])
    position = {} if kind in EPHEMERAL_EVENTS else {"id": _POSITION}
    properties = {"event": {"type": "string", "const": kind}, **position, "data": data}
    return _object(kind, properties, _required(kind, properties))


def _required(kind: str, properties: Json) -> list[str]:
    return [name for name in properties if name != "id" or kind not in WITHOUT_POSITION_AT_TIMES]


def _command(endpoint: AnyEndpoint, described: Json) -> Json:
    in_path = re.findall(r"{(\w+)}", endpoint.path)
    properties = {
        name: schema for name, schema in described["properties"].items() if name not in _IN_PATHS - {*in_path}
    }
    properties["command"] = {"type": "string", "const": endpoint.command}
    properties.pop("body")
    if endpoint.takes_body:
        properties["body"] = _reference(endpoint.body)
    required = ["id", "command", *(["body"] if endpoint.takes_body else []), *in_path]
    return _object(endpoint.command, properties, required)


def _answer(endpoint: AnyEndpoint, described: Json) -> Json:
    bodies = _answered(endpoint)
    own: Json = {"status": {"type": "integer", "enum": sorted(endpoint.answers)}}
    properties = {name: schema for name, schema in (described["properties"] | own).items() if name != "retry_after"}
    properties.pop("body")
    if bodies:
        properties["body"] = _reference(bodies[0])
    return _object(f"answer to {endpoint.command}", properties, ["answer", "status", *(["body"] if bodies else [])])


def _refusal(described: Json) -> Json:
    own: Json = {"status": {"type": "integer", "minimum": HTTPStatus.BAD_REQUEST.value}, "body": _reference(Problem)}
    properties = {name: schema for name, schema in (described["properties"] | own).items() if name != "position"}
    return _object("problem", properties, ["answer", "status", "body"])


def _object(name: str, properties: Json, required: list[str]) -> Json:
    payload = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "contentType": _JSON, "payload": payload}


def _answered(endpoint: AnyEndpoint) -> list[type[msgspec.Struct]]:
    """The body types of its successful responses, each once."""
    return list(dict.fromkeys(answer.body for answer in endpoint.answers.values() if answer.body is not None))


def _reference(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": _SCHEMAS + kind.__name__}
