"""Routes to change the account's e-mail address, and to undo a change from the earlier address."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import InvalidCredentials, InvalidToken, TokenExpired
from contracts.rpc.vestnik.auth.v1 import RequestEmailChangeRequest, UndoEmailChangeRequest
from contracts.values.field_types import Email, Password, folded_login
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import password_attempts, policies, rate_limiter


class NewEmail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: Email
    password: Password


class UndoToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=2048, description="From the mail to the earlier address.")]


async def request_email_change(incoming: Request[NoQuery, NewEmail]) -> Response:
    auth, caller = incoming.context.remotes.auth, incoming.caller
    request = RequestEmailChangeRequest(
        user_id=caller.user_id,
        email=incoming.body.email,
        password=incoming.body.password,
        address=incoming.address,
    )
    guess = password_attempts.of_user(incoming.context.limiter, caller.user_id)
    with password_attempts.judged(guess):
        incoming.limit_states.extend(guess.limit_states)
        rate_limiter.check(guess.limit_states)
        answer = await auth.command(auth.stub.request_email_change, request, repeatable=False)
    return Response(status=202, position=answer.position, written_by=caller.user_id)


async def undo_email_change(incoming: Request[NoQuery, UndoToken]) -> Response:
    auth = incoming.context.remotes.auth
    request = UndoEmailChangeRequest(token=incoming.body.token)
    answer = await auth.command(auth.stub.undo_email_change, request, repeatable=True)
    return Response(status=204, position=answer.position, written_by=answer.user_id or None)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="PUT",
        path="/v1/users/me/email",
        tag="Users",
        summary="Request a change of the e-mail address",
        description=(
            "Sends a mail with a token to the new address; `POST /v1/users/verify-email` with the token and the "
            "account's password changes it. The response is the same for every address, so that it does not reveal "
            "who has an account; the owner of a taken address gets a notice instead of a token. The present address "
            "gets a mail about the request. After the change the earlier address stays the account's for 7 days: it "
            "logs in, receives password resets, and gets a mail with a token that undoes the change. Another change "
            "of the password or the address ends the request. An account can change its address 5 times in 7 days; "
            "a return to an earlier address and an undo count as changes."
        ),
        handler=request_email_change,
        query=NoQuery,
        body=NewEmail,
        answers={202: DocumentedResponse(description="If the address is free, a mail will be sent to it.")},
        errors=(InvalidCredentials,),
        limits=(
            AppliedLimit(limit=policies.WRITE_ADDRESS),
            AppliedLimit(limit=policies.CHANGE_EMAIL),
            AppliedLimit(limit=policies.REGISTER_EMAIL, key=lambda body: folded_login(body.email)),
        ),
        writes=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/users/undo-email-change",
        tag="Users",
        summary="Undo a change of the e-mail address",
        description=(
            "For the link in the mail to the earlier address, valid for 7 days. That address is the account's again, "
            "and every later one is free, whichever of several changes is undone. All sessions of the user end, the "
            "password is void, and a mail to the restored address resets it. A second use of the token succeeds and "
            "changes nothing."
        ),
        handler=undo_email_change,
        query=NoQuery,
        body=UndoToken,
        answers={204: DocumentedResponse(description="The earlier address is the account's again.")},
        errors=(TokenExpired, InvalidToken),
        limits=(AppliedLimit(limit=policies.VERIFY),),
        public=True,
        writes=True,
    ),
)
