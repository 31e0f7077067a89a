"""The route of one event: its state in each read model."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.operator.v1 import TraceEventRequest
from services.gateway.http.endpoint import AnyEndpoint, NoBody, Request, Response
from services.gateway.routes.operators.dead_letters import DeadLetter
from services.gateway.routes.operators.events import StreamEvent
from services.gateway.routes.operators.operator_route import Time, operator_client, operator_route, reply


class ReadModelState(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    build: int | None
    state: Annotated[
        str,
        Meta(
            description="`applied`, `ignored` (it does not handle this type), `waiting` (it has not read the "
            "event yet), `failed`, `parked`, `discarded` or `missing`."
        ),
    ]
    checkpoint: Annotated[int | None, Meta(description="Its checkpoint in the event's stream.")]
    checkpoint_at: Time | None
    letters: Annotated[list[DeadLetter], Meta(description="Its dead letters for the event's aggregate.")]


class NotificationMade(msgspec.Struct, frozen=True, kw_only=True):
    notification_id: str
    at: Time


class MessageState(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    sender_id: str
    recipient_id: str
    sequence: int
    stored: Annotated[bool, Meta(description="Whether the conversation's messages include it.")]
    open: Annotated[bool | None, Meta(description="Whether the two are friends now; if not, neither can see it.")]
    notification: NotificationMade | None
    seen_at: Time | None


class EventTrace(msgspec.Struct, frozen=True, kw_only=True):
    event: StreamEvent
    stored_at: Time | None
    read_models: Annotated[list[ReadModelState], Meta(description="The read models that read the event's stream.")]
    message: Annotated[MessageState | None, Meta(description="null if the event is not a message.")]


class TraceQuery(msgspec.Struct, frozen=True, kw_only=True):
    id: Annotated[str, Meta(max_length=64, description="The id of an event or of a message.")] = ""
    stream: Annotated[str, Meta(max_length=32, description="Instead of an id: the event's stream, and")] = ""
    sequence: Annotated[int, Meta(ge=0, le=2**63 - 1, description="its place there.")] = 0


async def event(incoming: Request[TraceQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = TraceEventRequest(
        user_id=incoming.caller.user_id, id=query.id, stream=query.stream.upper(), sequence=query.sequence
    )
    return reply(await operator.command(operator.stub.trace_event, request, repeatable=True), EventTrace)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "event",
        "An event's state in each read model",
        event,
        TraceQuery,
        NoBody,
        EventTrace,
        "By its id, by the id of its message, or by its stream and sequence. For a message also whether it was seen.",
    ),
)
