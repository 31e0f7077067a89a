"""The route of the events of the streams."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.rpc.vestnik.operator.v1 import ListEventsRequest
from services.gateway.http.endpoint import AnyEndpoint, NoBody, Request, Response
from services.gateway.routes.operators.operator_route import (
    Limit,
    Since,
    Time,
    Until,
    operator_client,
    operator_route,
    reply,
)


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    sequence: int
    subject: str
    id: str
    type: str
    schema: int
    aggregate_id: str
    version: int
    at: Time
    actor: str | None
    correlation_id: Annotated[str | None, Meta(description="The system's id of the request that caused it.")]
    causation_id: str | None
    traceparent: str | None
    request_id: Annotated[str | UnsetType, Meta(description="The client's `X-Request-Id`; absent if it sent none.")] = (
        UNSET
    )
    data: Annotated[
        dict[str, Any] | None,
        Meta(description="null for a private event; personal values are shown as `•••`."),
    ]


class StreamEvents(msgspec.Struct, frozen=True, kw_only=True):
    items: list[StreamEvent]
    older: Annotated[str | None, Meta(description="For `before`: the position of older ones; null if there are none.")]
    newer: Annotated[str, Meta(description="For `after`: the position to continue from.")]
    skipped: Annotated[int, Meta(description="Number of newer events that were skipped because there were too many.")]
    unreadable: Annotated[int, Meta(description="Number of messages that are not Vestnik events.")]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 50
    stream: Annotated[str, Meta(max_length=32, description="Only this stream.")] = ""
    type: Annotated[str, Meta(max_length=64, description="Only events of this type.")] = ""
    aggregate_id: Annotated[str, Meta(max_length=128, description="Only events of this aggregate.")] = ""
    since: Since = ""
    until: Until = ""
    before: Annotated[str, Meta(max_length=256, description="`older` of the previous page.")] = ""
    after: Annotated[str, Meta(max_length=256, description="`newer` of the previous page: events since then.")] = ""


async def events(incoming: Request[EventsQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = ListEventsRequest(
        user_id=incoming.caller.user_id,
        stream=query.stream.upper(),
        type=query.type,
        aggregate_id=query.aggregate_id,
        limit=query.limit,
        before=query.before,
        after=query.after,
        since=query.since,
        until=query.until,
    )
    return reply(await operator.read(operator.stub.list_events, request), StreamEvents)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "events",
        "Events of the streams",
        events,
        EventsQuery,
        NoBody,
        StreamEvents,
        "Newest first. Private events have no data, and personal fields are redacted.",
    ),
)
