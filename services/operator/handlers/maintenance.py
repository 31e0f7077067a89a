"""Verifications and rebuilds, started and cancelled by operators, and the controls of what services apply."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, MaintenanceUnderWay, NotFound, Unavailable
from contracts.rpc.vestnik.operator.v1 import (
    CancelMaintenanceRequest,
    ControlProjectionRequest,
    Document,
    StartMaintenanceRequest,
)
from contracts.values.validation import validated
from infra.operator_errors import OperatorError
from projections.engine.controls.waiting import Busy
from projections.engine.rebuild.rebuild import RebuildUnderWay
from projections.registry import UnknownProjection, choose
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.controls import Control, Controls
from services.operator.handlers.documents import document
from services.operator.maintenance import Kind, Maintenance, Scope

# Without NUL, which PostgreSQL does not take.
_Text = Annotated[str, Meta(max_length=1000, pattern=r"^[^\x00]*\Z")]


class _Maintenance(msgspec.Struct, frozen=True):
    kind: Kind
    projection: Annotated[str, Meta(min_length=1, max_length=64)]
    reason: _Text
    only: _Text
    rate: int


class _Controlling(msgspec.Struct, frozen=True):
    projection: Annotated[str, Meta(min_length=1, max_length=64)]
    control: Control
    reason: Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*\Z")]


class MaintenanceHandlers:
    def __init__(self, maintenance: Maintenance, controls: Controls, recorder: Recorder) -> None:
        self._maintenance = maintenance
        self._controls = controls
        self._recorder = recorder

    async def list(self) -> Document:
        return document(self._maintenance.jobs())

    async def start(self, message: StartMaintenanceRequest, actor: Actor) -> Document:
        asked = {
            "kind": message.kind,
            "projection": message.projection,
            "reason": " ".join(message.reason.split()),
            "only": message.only.strip(),
            "rate": message.rate,
        }
        request = validated(_Maintenance, asked)
        if request.kind == "verify" and (request.reason or request.only or request.rate):
            raise Invalid("Only a rebuild has a reason, a key or a rate.")
        if request.only and request.rate:
            raise Invalid("The rows of one key are rebuilt at no rate.")
        scope = Scope(only=request.only, rate=request.rate)
        try:
            started = await self._maintenance.start(
                request.kind, request.projection, actor, scope=scope, reason=request.reason
            )
            return document(started)
        except UnknownProjection as error:
            raise NotFound(str(error)) from error

    async def cancel(self, message: CancelMaintenanceRequest, actor: Actor) -> Document:
        running = self._maintenance.running(message.id)
        details = {"kind": running.kind, "projection": running.projection}
        async with self._recorder.acting(actor, "maintenance.cancel", target=running.id, details=details):
            return document(self._maintenance.cancel(message.id))

    async def control(self, message: ControlProjectionRequest, actor: Actor) -> Document:
        reason = " ".join(message.reason.split())
        asked = {"projection": message.projection, "control": message.control, "reason": reason}
        request = validated(_Controlling, asked)
        try:
            (projection,) = choose((request.projection,))
        except UnknownProjection as error:
            raise NotFound(str(error)) from error
        action = f"read_model.{request.control}"
        try:
            async with self._recorder.acting(actor, action, target=projection.name, reason=request.reason) as act:
                return document(await self._controls.run(request.control, projection, request.reason, act))
        except RebuildUnderWay as failure:
            raise MaintenanceUnderWay(str(failure)) from failure
        except Busy as failure:
            raise Unavailable(str(failure), retry_after=1) from failure
        except OperatorError as failure:
            raise Invalid(str(failure)) from failure
