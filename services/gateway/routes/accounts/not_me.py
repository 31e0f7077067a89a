"""Route behind the link "this was not me" in the mail of an alert."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import InvalidToken, TokenExpired
from contracts.rpc.vestnik.auth.v1 import ReportNotMeRequest
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


class NotMe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048, description="From the link in the mail.")]


class ResetOffered(msgspec.Struct, frozen=True):
    reset_token: Annotated[str, Meta(description="The `token` of `POST /v1/users/password-reset/confirm`.")]


async def report_not_me(incoming: Request[NoQuery, NotMe]) -> Response:
    auth = incoming.context.remotes.auth
    request = ReportNotMeRequest(token=incoming.body.token)
    answer = await auth.command(auth.stub.report_not_me, request, repeatable=True)
    return Response(body=ResetOffered(answer.reset_token), position=answer.position, written_by=answer.user_id)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/users/not-me",
        tag="Users",
        summary="Report what a mail tells of as not oneself",
        description=(
            "All sessions of the user end, device tokens become invalid, and no login succeeds until the password is "
            "reset; the response has the token for that. Repeated, it does the same until the password is reset. "
            "An address to which the mail was sent, and which the account has left since, is the account's present one "
            "again, and those that replaced it are free. "
            "The link in the mail only opens a page, which does nothing before its reader agrees."
        ),
        handler=report_not_me,
        query=NoQuery,
        body=NotMe,
        answers={200: DocumentedResponse(description="Set a new password now.", body=ResetOffered)},
        errors=(TokenExpired, InvalidToken),
        limits=(AppliedLimit(limit=policies.NOT_ME),),
        public=True,
        writes=True,
    ),
)
