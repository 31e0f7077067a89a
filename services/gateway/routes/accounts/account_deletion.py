"""Route to delete one's account."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import InvalidCredentials
from contracts.rpc.vestnik.auth.v1 import DeleteAccountRequest
from contracts.values.field_types import Password
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
from services.gateway.routes.timestamps import Time, shown

_REASON = "erasure_requested"


class AccountDeletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: Password


class RequestedErasure(msgspec.Struct, frozen=True):
    erased_at: Annotated[Time, Meta(description="When the account is erased. A login before that cancels it.")]


async def delete_account(incoming: Request[NoQuery, AccountDeletion]) -> Response:
    auth, caller = incoming.context.remotes.auth, incoming.caller
    request = DeleteAccountRequest(user_id=caller.user_id, password=incoming.body.password, address=incoming.address)
    guess = password_attempts.of_user(incoming.context.limiter, caller.user_id)
    with password_attempts.judged(guess):
        incoming.limit_states.extend(guess.limit_states)
        rate_limiter.check(guess.limit_states)
        answer = await auth.command(auth.stub.delete_account, request, repeatable=True)
    # The stream reports it too; on this gateway it takes effect before the response.
    incoming.context.revocations.add(caller.session_id, _REASON)
    return Response(
        status=202,
        body=RequestedErasure(shown(answer.erased_at)),
        position=answer.position,
        written_by=caller.user_id,
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="DELETE",
        path="/v1/users/me",
        tag="Users",
        summary="Delete one's account",
        description=(
            "All sessions end at once. Until `erased_at` a login with the password, and a code where two-step "
            "verification is on, cancels the deletion; other people notice nothing before. Then the account and the "
            "user's personal data are erased for ever: others see a deleted account and deleted messages. Name and "
            "address can be used again some time later. The owner gets a mail. A repeated request changes nothing and "
            "gets the same answer. A wrong password counts as a failed login."
        ),
        handler=delete_account,
        query=NoQuery,
        body=AccountDeletion,
        answers={202: DocumentedResponse(description="The account will be erased.", body=RequestedErasure)},
        errors=(InvalidCredentials,),
        limits=(AppliedLimit(limit=policies.WRITE_ADDRESS), AppliedLimit(limit=policies.CHANGE_PASSWORD)),
        writes=True,
    ),
)
