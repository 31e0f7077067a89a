"""Routes of verifications and rebuilds, and of the controls of read models."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.errors import MaintenanceUnderWay
from contracts.rpc.vestnik.operator.v1 import (
    CancelMaintenanceRequest,
    ControlProjectionRequest,
    ListMaintenanceRequest,
    StartMaintenanceRequest,
)
from services.gateway.http.endpoint import AnyEndpoint, NoBody, NoQuery, Request, Response
from services.gateway.routes.operators.operator_route import Time, operator_client, operator_route, reply


class JobProgress(msgspec.Struct, frozen=True):
    events: int
    total: int
    events_per_second: float
    seconds_left: float | None
    waits_for: Annotated[str | None, Meta(description="The unit, if it is not events.")]


class RowDiffers(msgspec.Struct, frozen=True, kw_only=True):
    table: str
    kind: Annotated[str, Meta(description="`changed`, `missing` from the live table, or `extra` there.")]
    key: dict[str, str]
    columns: Annotated[list[str], Meta(description="Names of the columns that differ; values are not shown.")]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    equal: bool
    rows: int
    events: int
    changed: int
    missing: int
    extra: int
    lost: Annotated[list[str], Meta(description="Events that the streams have lost, such as `MESSAGING:7-9`.")]
    dead_letters: int
    dead_letters_rebuilt: int
    discarded: int
    seconds: float
    differences: Annotated[list[RowDiffers], Meta(description="The first few.")]


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    build: int
    replaced: int | None
    events: int
    seconds: float
    events_per_second: float
    dead_letters: int


class RebuiltKey(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    build: int
    rows: Annotated[int, Meta(description="Rows that were replaced.")]
    events: Annotated[int, Meta(description="Events that change them.")]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    only: Annotated[str, Meta(description="The key whose rows alone are rebuilt; empty: all rows.")]
    rate: Annotated[int, Meta(description="The most events a second; 0: no limit.")]


class MaintenanceJob(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: Annotated[str, Meta(description="`verify` or `rebuild`.")]
    projection: str
    by: Annotated[str, Meta(description="The operator's username.")]
    state: Annotated[str, Meta(description="`running`, `done`, `failed` or `cancelled`.")]
    started_at: Time
    ended_at: Time | None
    progress: JobProgress | None
    verified: Annotated[Verified | None, Meta(description="The result of a verification.")]
    rebuilt: Annotated[Rebuilt | None, Meta(description="The result of a rebuild.")]
    error: str | None
    # Not from an operator process of an earlier release.
    rebuilt_key: Annotated[RebuiltKey | None, Meta(description="The result of a rebuild of one key's rows.")] = None
    scope: Annotated[Scope | None, Meta(description="How much is rebuilt, and how fast.")] = None


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    projections: Annotated[list[str], Meta(description="The read models that can be verified and rebuilt.")]
    items: Annotated[list[MaintenanceJob], Meta(description="Newest first; only the first can be running.")]


class Starting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[Literal["verify", "rebuild"], Meta(description="What to do.")]
    projection: Annotated[str, Meta(min_length=1, max_length=64, description="The read model.")]
    reason: Annotated[str, Meta(max_length=1000, description="Why it is rebuilt; recorded permanently.")] = ""
    only: Annotated[
        str, Meta(max_length=1000, description="Rebuilds the rows of this key alone, as `vestnik rebuild --only`.")
    ] = ""
    rate: Annotated[
        int, Meta(ge=0, le=10_000_000, description="Rebuilds at most so many events a second; 0: no limit.")
    ] = 0


class Cancelling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1, max_length=64)]


class Controlling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    projection: Annotated[str, Meta(min_length=1, max_length=64, description="The read model.")]
    control: Annotated[
        Literal["pause", "resume", "skip", "reset"],
        Meta(description="`skip` passes over the event that a failed one stops at."),
    ]
    reason: Annotated[str, Meta(min_length=1, max_length=1000, description="The reason; recorded permanently.")]


class Controlled(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    control: str
    position: Annotated[dict[str, int], Meta(description="Where it is paused, or was before a reset.")]
    build: Annotated[int | None, Meta(description="Of a reset: the empty build.")]
    replaced: Annotated[int | None, Meta(description="Of a reset: the build that it has replaced.")]
    event: Annotated[str | None, Meta(description="The skipped event, such as `MESSAGING 17`.")]
    # Not from an operator process of an earlier release.
    kept: Annotated[int | None, Meta(description="Of a reset: the build that is kept to go back to.")] = None


async def maintenance(incoming: Request[NoQuery, NoBody]) -> Response:
    operator = operator_client(incoming)
    request = ListMaintenanceRequest(user_id=incoming.caller.user_id)
    return reply(await operator.read(operator.stub.list_maintenance, request), Maintenance)


async def start(incoming: Request[NoQuery, Starting]) -> Response:
    operator, body = operator_client(incoming), incoming.body
    request = StartMaintenanceRequest(
        user_id=incoming.caller.user_id,
        kind=body.kind,
        projection=body.projection,
        reason=body.reason,
        only=body.only,
        rate=body.rate,
    )
    return reply(await operator.command(operator.stub.start_maintenance, request, repeatable=False), MaintenanceJob)


async def cancel(incoming: Request[NoQuery, Cancelling]) -> Response:
    operator = operator_client(incoming)
    request = CancelMaintenanceRequest(user_id=incoming.caller.user_id, id=incoming.body.id)
    return reply(await operator.command(operator.stub.cancel_maintenance, request, repeatable=True), MaintenanceJob)


async def control(incoming: Request[NoQuery, Controlling]) -> Response:
    operator, body = operator_client(incoming), incoming.body
    request = ControlProjectionRequest(
        user_id=incoming.caller.user_id, projection=body.projection, control=body.control, reason=body.reason
    )
    return reply(await operator.command(operator.stub.control_projection, request, repeatable=False), Controlled)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "maintenance",
        "Verifications and rebuilds",
        maintenance,
        NoQuery,
        NoBody,
        Maintenance,
        "The running one and the last ones since the operator process started.",
    ),
    operator_route(
        "POST",
        "maintenance",
        "What was started",
        start,
        NoQuery,
        Starting,
        MaintenanceJob,
        "Verifies or rebuilds a read model, as `vestnik verify` and `vestnik rebuild` do; one at a time.",
        (MaintenanceUnderWay,),
    ),
    operator_route(
        "POST",
        "maintenance/cancel",
        "The job that is being cancelled",
        cancel,
        NoQuery,
        Cancelling,
        MaintenanceJob,
        "It ends shortly after. The next rebuild resumes a cancelled one.",
    ),
    operator_route(
        "POST",
        "projections",
        "What was done",
        control,
        NoQuery,
        Controlling,
        Controlled,
        "Pauses, resumes or resets a read model, or skips the event that it stops at, as `vestnik projections` does. "
        "Recorded with the reason and the operator's name. It answers within the time of a request: a reset during a "
        "rebuild is refused at once with its progress, and one that has to wait for too long with 503.",
        (MaintenanceUnderWay,),
    ),
)
