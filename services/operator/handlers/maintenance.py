"""Verifications and rebuilds: started and cancelled by operators."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import NotFound
from contracts.rpc.vestnik.operator.v1 import CancelMaintenanceRequest, Document, StartMaintenanceRequest
from contracts.values.validation import validated
from projections.registry import UnknownProjection
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.handlers.documents import document
from services.operator.maintenance import Kind, Maintenance


class _Maintenance(msgspec.Struct, frozen=True):
    kind: Kind
    projection: Annotated[str, Meta(min_length=1, max_length=64)]


class MaintenanceHandlers:
    def __init__(self, maintenance: Maintenance, recorder: Recorder) -> None:
        self._maintenance = maintenance
        self._recorder = recorder

    async def list(self) -> Document:
        return document(self._maintenance.jobs())

    async def start(self, message: StartMaintenanceRequest, actor: Actor) -> Document:
        request = validated(_Maintenance, {"kind": message.kind, "projection": message.projection})
        try:
            return document(await self._maintenance.start(request.kind, request.projection, actor))
        except UnknownProjection as error:
            raise NotFound(str(error)) from error

    async def cancel(self, message: CancelMaintenanceRequest, actor: Actor) -> Document:
        running = self._maintenance.running(message.id)
        details = {"kind": running.kind, "projection": running.projection}
        async with self._recorder.acting(actor, "maintenance.cancel", target=running.id, details=details):
            return document(self._maintenance.cancel(message.id))
