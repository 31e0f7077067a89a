"""Route for reports of users and messages to the operators."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import MessageNotFound, UserNotFound
from contracts.rpc.vestnik.contact.v1 import ReportUserRequest
from contracts.values.field_types import REPORTED_MESSAGES, Id, ReportComment, ReportReason
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies


class NewReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user_id: Annotated[Id, Meta(description="The reported user.")]
    reason: ReportReason
    message_ids: Annotated[
        tuple[Id, ...],
        Meta(
            max_length=REPORTED_MESSAGES,
            description="Messages of the conversation with that user, also of one that has ended.",
        ),
    ] = ()
    comment: ReportComment = ""


class FiledReport(msgspec.Struct, frozen=True):
    report_id: Id


async def report(incoming: Request[NoQuery, NewReport]) -> Response:
    contact, body = incoming.context.remotes.contact, incoming.body
    request = ReportUserRequest(
        user_id=incoming.caller.user_id,
        reported_id=body.user_id,
        message_ids=list(body.message_ids),
        reason=body.reason,
        comment=body.comment,
    )
    answer = await contact.command(contact.stub.report_user, request, repeatable=True)
    return Response(status=202, body=FiledReport(answer.report_id))


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/reports",
        tag="Reports",
        summary="Report a user or messages",
        description=(
            "The operators get copies of the messages as they are now, which a later change or deletion does not "
            "affect. The reported user is not informed. Repeated with the same messages and reason while the report "
            "is open: the same report, with its first comment."
        ),
        handler=report,
        query=NoQuery,
        body=NewReport,
        answers={202: DocumentedResponse(description="The operators have the report.", body=FiledReport)},
        errors=(UserNotFound, MessageNotFound),
        limits=(AppliedLimit(limit=policies.REPORT_ADDRESS), AppliedLimit(limit=policies.REPORT)),
        writes=True,
    ),
)
