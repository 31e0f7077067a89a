"""The route of one aggregate: its events, and its state after each."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.operator.v1 import GetAggregateRequest
from services.gateway.http.endpoint import AnyEndpoint, NoBody, Request, Response
from services.gateway.routes.operators.events import StreamEvent
from services.gateway.routes.operators.operator_route import Time, operator_client, operator_route, reply


class AggregateVersion(msgspec.Struct, frozen=True, kw_only=True):
    event: StreamEvent
    state: Annotated[
        dict[str, Any] | None, Meta(description="After the event; null where an event up to it cannot be read.")
    ]
    error: Annotated[str | None, Meta(description="Why the event cannot be read.")]
    missing: Annotated[str | None, Meta(description="Versions before it that the stream has lost, as `4-6`.")]
    lost_before: Annotated[list[str], Meta(description="Accepted losses before it, as `MESSAGING:7-9`.")]
    lost_after: Annotated[list[str], Meta(description="The same after the last event.")]
    expired_at: Annotated[Time | None, Meta(description="Of the last version: when its state expired.")]


class AggregateVersions(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    aggregate_id: str
    stream: str
    last_version: Annotated[int, Meta(description="The newest there is.")]
    items: list[AggregateVersion]


class AggregateQuery(msgspec.Struct, frozen=True, kw_only=True):
    kind: Annotated[str, Meta(min_length=1, max_length=32, description="As in the subject: `friendship`.")]
    id: Annotated[str, Meta(min_length=1, max_length=128, description="The end of its subject.")]
    version: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Up to this one; 0 for the newest.")] = 0
    at: Annotated[str, Meta(max_length=40, description="RFC 3339: instead, up to this time.")] = ""
    limit: Annotated[int, Meta(ge=1, le=100, description="How many at most.")] = 20


async def aggregate(incoming: Request[AggregateQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = GetAggregateRequest(
        user_id=incoming.caller.user_id,
        kind=query.kind,
        aggregate_id=query.id,
        version=query.version,
        at=query.at,
        limit=query.limit,
    )
    return reply(await operator.command(operator.stub.get_aggregate, request, repeatable=True), AggregateVersions)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "aggregate",
        "One aggregate's events, and its state after each",
        aggregate,
        AggregateQuery,
        NoBody,
        AggregateVersions,
        "The newest first, as its service derives them. Secrets and personal data are not shown. Each view is "
        "recorded with its operator.",
    ),
)
