"""The gRPC methods with which users request and download copies of their data."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.envelope import now
from contracts.rpc.vestnik.auth.v1 import (
    AuthServiceBase,
    DataExport,
    ListDataExportsRequest,
    ListDataExportsResponse,
    OpenDataExportRequest,
    OpenDataExportResponse,
    ReadDataExportRequest,
    ReadDataExportResponse,
    RequestDataExportRequest,
    RequestDataExportResponse,
)
from contracts.values.field_types import Id
from contracts.values.timestamps import to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.auth.data_export import domain
from services.auth.data_export.commands import DataExportCommands


class _Account(msgspec.Struct, frozen=True):
    user_id: Id


class _Request(_Account, frozen=True):
    session_id: Id


class _Open(_Request, frozen=True):
    export_id: Id


class _Read(_Account, frozen=True):
    export_id: Id
    part: Annotated[int, Meta(ge=0)]


class DataExportServer(AuthServiceBase):
    def __init__(self, exports: DataExportCommands) -> None:
        self._data_exports = exports

    async def request_data_export(self, message: RequestDataExportRequest) -> RequestDataExportResponse:
        request = validated(_Request, {"user_id": message.user_id, "session_id": message.session_id})
        call = current()
        export_id, position = await self._data_exports.request(
            request.user_id, request.session_id, call.position, call.provenance()
        )
        return RequestDataExportResponse(export_id=export_id, position=position.encode())

    async def list_data_exports(self, message: ListDataExportsRequest) -> ListDataExportsResponse:
        request = validated(_Account, {"user_id": message.user_id})
        exports, position = await self._data_exports.recent(request.user_id)
        return ListDataExportsResponse(exports=list(map(_shown, exports)), position=position.encode())

    async def open_data_export(self, message: OpenDataExportRequest) -> OpenDataExportResponse:
        request = validated(
            _Open,
            {"user_id": message.user_id, "session_id": message.session_id, "export_id": message.export_id},
        )
        export, position = await self._data_exports.open(
            request.user_id, request.export_id, request.session_id, current().provenance()
        )
        return OpenDataExportResponse(export=_shown(export), position=position.encode())

    async def read_data_export(self, message: ReadDataExportRequest) -> ReadDataExportResponse:
        request = validated(_Read, {"user_id": message.user_id, "export_id": message.export_id, "part": message.part})
        content = await self._data_exports.read(request.user_id, request.export_id, request.part)
        return ReadDataExportResponse(content=content)


def _shown(export: domain.DataExport) -> DataExport:
    shown = DataExport(
        export_id=export.export_id,
        state=export.state_at(now()),
        requested_at=to_unix_ms(export.requested_at),
    )
    if export.file is not None:
        shown.expires_at = to_unix_ms(export.file.expires_at)
        shown.size = export.file.size
        shown.parts = export.file.parts
    return shown
