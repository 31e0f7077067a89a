"""Routes to request and download a copy of one's data."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.types import Scope, Send

from contracts.errors import DataExportExpired, DataExportNotFound, DataExportNotMade, VestnikError, error_text
from contracts.rpc.vestnik.auth.v1 import (
    DataExport,
    ListDataExportsRequest,
    OpenDataExportRequest,
    ReadDataExportRequest,
    RequestDataExportRequest,
)
from contracts.values.field_types import Id
from infra.rpc.call_context import Call
from services.gateway.clients import ServiceClients, required
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Page,
    Request,
    Response,
)
from services.gateway.http.scope_extensions import abort
from services.gateway.limits import policies, rate_limiter
from services.gateway.live.client_pace import Pace
from services.gateway.routes.timestamps import Time, shown
from services.gateway.security.revocations import OnEnd

log = logging.getLogger(__name__)
ZIP = "application/zip"
State = Literal["making", "ready", "expired", "failed"]

_DESCRIPTION = """\
A ZIP file with JSON and readable HTML pages: the account and its profile, logins with device and address, failed \
logins, friends and requests, blocks, reports that were filed, notifications, and the conversations that are open to \
the user, with all messages, settings and drafts. It holds what the other routes show the user, and nothing else of \
other people.

It is made in the background. A mail says when it is ready; it can then be downloaded for a day. The owner of the \
account gets an alert when it is requested. `Retry-After` of a 429 says when the next one can be requested.
"""


class RequestedExport(msgspec.Struct, frozen=True):
    export_id: Id


class ExportItem(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of the user's data."""

    export_id: Id
    state: Annotated[State, Meta(description="`ready`: it can be downloaded.")]
    requested_at: Time
    expires_at: Annotated[Time, Meta(description="Until then it can be downloaded; once it was ready.")] | UnsetType = (
        UNSET
    )
    size: Annotated[int, Meta(description="In bytes; once it was ready.")] | UnsetType = UNSET


async def request(incoming: Request[NoQuery, NoBody]) -> Response:
    auth, caller = incoming.context.remotes.auth, incoming.caller
    message = RequestDataExportRequest(user_id=caller.user_id, session_id=caller.session_id)
    answer = await auth.command(auth.stub.request_data_export, message, repeatable=False, about=caller.user_id)
    return Response(
        status=202, body=RequestedExport(answer.export_id), position=answer.position, written_by=caller.user_id
    )


async def list_exports(incoming: Request[NoQuery, NoBody]) -> Response:
    auth = incoming.context.remotes.auth
    answer = await auth.read(auth.stub.list_data_exports, ListDataExportsRequest(user_id=incoming.caller.user_id))
    return Response(body=Page([_item(export) for export in answer.exports], None), position=answer.position)


async def download(incoming: Request[NoQuery, NoBody]) -> Response:
    remotes, caller = incoming.context.remotes, incoming.caller
    opening = OpenDataExportRequest(
        user_id=caller.user_id,
        session_id=caller.session_id,
        export_id=incoming.path_id("export_id", DataExportNotFound),
    )
    answer = await remotes.auth.read(remotes.auth.stub.open_data_export, opening)
    export = required(answer.export)
    if export.state != "ready":
        return Response(status=202, body=_item(export), position=answer.position)
    if incoming.context.limiter is not None:
        incoming.limit_states.append(incoming.context.limiter.consume(policies.DATA_DOWNLOAD, caller.user_id))
        rate_limiter.check(incoming.limit_states)
    file = _File(remotes, export, incoming.call)
    # Before the response begins: while the store is unreachable it is 503.
    first = await file.part(0)
    return Response(
        stream=_FileBody(file, first, partial(incoming.context.revocations.watch_session, caller.session_id)),
        headers={
            "content-type": ZIP,
            "content-length": str(export.size),
            "content-disposition": f'attachment; filename="vestnik-{shown(export.requested_at)[:10]}.zip"',
            "cache-control": "no-store",
        },
    )


class _File:
    def __init__(self, remotes: ServiceClients, export: DataExport, call: Call) -> None:
        self._remotes = remotes
        self._export = export
        # A download takes longer than a request.
        self._context = msgspec.structs.replace(call, deadline=None)

    @property
    def parts(self) -> int:
        return self._export.parts

    async def part(self, number: int) -> bytes:
        """
        Raises:
            VestnikError: it cannot be read now, or not any more.
        """
        auth = self._remotes.auth
        message = ReadDataExportRequest(
            user_id=self._context.actor or "", export_id=self._export.export_id, part=number
        )
        return (await auth.read(auth.stub.read_data_export, message, context=self._context)).content


class _FileBody:
    """Streams the file, a part in memory at a time. A download that fails ends before its announced length.

    It ends with its session, as do live streams: a slow client may read for days.
    """

    def __init__(self, file: _File, first: bytes, watch: Callable[[OnEnd], AbstractContextManager[None]]) -> None:
        """`watch`: watches the session while the context is open."""
        self._file = file
        self._first = first
        self._watch = watch

    async def send(self, scope: Scope, gone: asyncio.Future[None], send: Send) -> None:
        pace, has_ended = Pace(), False

        def end(_: str | None) -> None:
            nonlocal has_ended
            has_ended = True
            abort(scope)

        try:
            content, self._first = self._first, b""
            with self._watch(end):
                for number in range(self._file.parts):
                    if number:
                        content = await self._file.part(number)
                    if has_ended or gone.done():
                        return
                    chunk = {"type": "http.response.body", "body": content, "more_body": True}
                    await pace.wait(send(chunk), len(content))
        except (VestnikError, TimeoutError) as error:
            log.warning("a download of a copy of a user's data ended early: %s", error_text(error))
            abort(scope)


def _item(export: DataExport) -> ExportItem:
    state = next((state for state in get_args(State) if state == export.state), None)
    if state is None:
        raise VestnikError
    return ExportItem(
        export_id=export.export_id,
        state=state,
        requested_at=shown(export.requested_at),
        expires_at=UNSET if export.expires_at is None else shown(export.expires_at),
        size=UNSET if export.expires_at is None else export.size,
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/users/me/exports",
        tag="Users",
        summary="Request a copy of one's data, once a day",
        description=_DESCRIPTION,
        handler=request,
        query=NoQuery,
        body=NoBody,
        answers={202: DocumentedResponse(description="It will be made.", body=RequestedExport)},
        limits=(AppliedLimit(limit=policies.WRITE_ADDRESS), AppliedLimit(limit=policies.DATA_EXPORT)),
        writes=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/users/me/exports",
        tag="Users",
        summary="List the copies of one's data that were requested in the last days",
        handler=list_exports,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="Newest first, on one page.", body=Page[ExportItem])},
    ),
    Endpoint(
        method="GET",
        path="/v1/users/me/exports/{export_id}",
        tag="Users",
        summary="Download a copy of one's data",
        description="An attachment, without support for ranges. A download that ends before its `Content-Length` "
        "has failed.",
        handler=download,
        query=NoQuery,
        body=NoBody,
        answers={
            200: DocumentedResponse(description="The file.", media_type=ZIP),
            202: DocumentedResponse(description="It is being made.", body=ExportItem),
        },
        errors=(DataExportNotFound, DataExportExpired, DataExportNotMade),
    ),
)
