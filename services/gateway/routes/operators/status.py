"""Routes of the streams, projections, reactions and services as they are now, and of the streams' rates."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.operator.v1 import GetRatesRequest, GetStatusRequest
from services.gateway.http.endpoint import AnyEndpoint, NoBody, NoQuery, Request, Response
from services.gateway.routes.operators.operator_route import Time, operator_client, operator_route, reply


class StreamState(msgspec.Struct, frozen=True):
    name: str
    events: int
    bytes: int
    last_sequence: int


class LettersWaiting(msgspec.Struct, frozen=True):
    failed: int
    parked: int


class Mishap(msgspec.Struct, frozen=True):
    at: Time
    error: str


class BuildProgress(msgspec.Struct, frozen=True):
    events: int
    total: int
    fraction: float
    seconds_left: float | None


class PauseState(msgspec.Struct, frozen=True):
    reason: str
    paused_by: str
    paused_at: Time


class ProjectionState(msgspec.Struct, frozen=True):
    name: str
    version: int
    build: int
    state: Annotated[
        str,
        Meta(
            description="`live`, `building`, `returning`, `interrupted`, `missing`, `paused`, `failed` or "
            "`unknown`; more may be added."
        ),
    ]
    position: Annotated[dict[str, int], Meta(description="Its checkpoint in each of its streams.")]
    lag: Annotated[int | None, Meta(description="Events that it has not applied yet; null if unknown.")]
    lag_seconds: float | None
    events_per_second: float
    checkpoint_at: Time | None
    dead_letters: LettersWaiting
    last_error: Annotated[Mishap | None, Meta(description="From the last 24 hours.")]
    progress: Annotated[BuildProgress | None, Meta(description="For a build that is not live.")]
    bytes: int
    kept_bytes: int
    pause: Annotated[PauseState | None, Meta(description="No service applies this version until it is resumed.")] = None


class ReactionState(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    service: str
    stream: str
    state: Annotated[str, Meta(description="`running`, `stopped`, `missing` or `unknown`; more may be added.")]
    position: Annotated[int, Meta(description="Up to here every event of its stream is done or parked.")]
    lag: Annotated[int | None, Meta(description="Events that it has not attempted yet; null if unknown.")]
    lag_seconds: float | None
    waiting: Annotated[int, Meta(description="Events that wait for their next attempt, or are attempted now.")]
    attempts: Annotated[int, Meta(description="Attempts since it exists.")]
    attempts_per_second: float
    parked: Annotated[int, Meta(description="Events that wait for an operator.")]


class ServiceState(msgspec.Struct, frozen=True):
    name: str
    state: Annotated[str, Meta(description="`serving`, `partly`, `not_ready` or `down`; more may be added.")]


class SilentServer(msgspec.Struct, frozen=True):
    part: str
    reason: str


class SystemStatus(msgspec.Struct, frozen=True):
    at: Time
    streams: list[StreamState]
    projections: list[ProjectionState]
    services: list[ServiceState]
    unreachable: Annotated[list[SilentServer], Meta(description="Servers that do not answer.")]
    out_of_space: Annotated[bool, Meta(description="Writes are refused: the event store has no space left.")] = False
    reactions: list[ReactionState] = []


class StreamRates(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    events: Annotated[list[int], Meta(description="One per step, oldest first.")]


class StreamHistory(msgspec.Struct, frozen=True, kw_only=True):
    step_seconds: int
    steps: Annotated[list[Time], Meta(description="The start of each step.")]
    streams: list[StreamRates]


class RatesQuery(msgspec.Struct, frozen=True, kw_only=True):
    span: Annotated[Literal["day", "week"], Meta(description="The last 24 hours, or 7 days.")] = "day"


async def status(incoming: Request[NoQuery, NoBody]) -> Response:
    operator = operator_client(incoming)
    request = GetStatusRequest(user_id=incoming.caller.user_id)
    return reply(await operator.command(operator.stub.get_status, request, repeatable=True), SystemStatus)


async def rates(incoming: Request[RatesQuery, NoBody]) -> Response:
    operator = operator_client(incoming)
    request = GetRatesRequest(user_id=incoming.caller.user_id, span=incoming.query.span)
    return reply(await operator.command(operator.stub.get_rates, request, repeatable=True), StreamHistory)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET", "status", "Streams, projections, reactions and services", status, NoQuery, NoBody, SystemStatus
    ),
    operator_route(
        "GET",
        "rates",
        "Events per stream over the last day or week",
        rates,
        RatesQuery,
        NoBody,
        StreamHistory,
        "In steps of half an hour or six hours, counted from the streams; the last step is incomplete.",
    ),
)
