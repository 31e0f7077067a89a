"""Routes to set up two-step verification and to turn it off."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from contracts.errors import InvalidCredentials, InvalidTotp, TotpAlreadyOn, TotpNotBegun
from contracts.rpc.vestnik.auth.v1 import BeginTotpRequest, ConfirmTotpRequest, EndTotpRequest
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
from services.gateway.routes.accounts.browser_sessions import device_cookie

_PATH = "/v1/users/me/totp"
_LIMITS: tuple[AppliedLimit[Any], ...] = (
    AppliedLimit(limit=policies.WRITE_ADDRESS),
    AppliedLimit(limit=policies.CHANGE_PASSWORD),
)

Code = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="Six digits of the authenticator app; spaces and hyphens are ignored.",
    ),
]


class TotpSetUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: Password


class TotpSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The secret for an authenticator app, in three equivalent forms."""

    secret: Annotated[str, Meta(description="In Base32, to be typed.")]
    otpauth_uri: Annotated[str, Meta(description="For a link on the device of the app.")]
    qr_code: Annotated[
        list[Annotated[str, Meta(pattern="^[01]+$")]],
        Meta(
            description="The QR code of `otpauth_uri` as rows of modules: `1` is dark, `0` light. Draw it with a "
            "light margin of four modules; it needs no request elsewhere and no markup from the server."
        ),
    ]


class TotpConfirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Code


class RecoveryCodes(msgspec.Struct, frozen=True):
    recovery_codes: Annotated[
        list[str], Meta(description="Ten codes, each good once in place of the app's. They are shown only here.")
    ]


class TotpEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: Password
    code: Annotated[str, Meta(min_length=1, max_length=64, description="Of the app, or a recovery code.")]


async def begin(incoming: Request[NoQuery, TotpSetUp]) -> Response:
    auth, user_id = incoming.context.remotes.auth, incoming.caller.user_id
    request = BeginTotpRequest(user_id=user_id, password=incoming.body.password, address=incoming.address)
    guess = password_attempts.of_user(incoming.context.limiter, user_id)
    with password_attempts.judged(guess):
        incoming.limit_states.extend(guess.limit_states)
        rate_limiter.check(guess.limit_states)
        answer = await auth.command(auth.stub.begin_totp, request, repeatable=False)
    return Response(body=TotpSecret(secret=answer.secret, otpauth_uri=answer.otpauth_uri, qr_code=list(answer.qr_code)))


async def confirm(incoming: Request[NoQuery, TotpConfirmation]) -> Response:
    auth, caller = incoming.context.remotes.auth, incoming.caller
    request = ConfirmTotpRequest(
        user_id=caller.user_id,
        code=incoming.body.code,
        session_id=caller.session_id,
        address=incoming.address,
    )
    guess = password_attempts.of_code(incoming.context.limiter, caller.user_id)
    with password_attempts.judged(guess):
        incoming.limit_states.extend(guess.limit_states)
        rate_limiter.check(guess.limit_states)
        answer = await auth.command(auth.stub.confirm_totp, request, repeatable=False)
    return Response(
        body=RecoveryCodes(list(answer.recovery_codes)),
        headers={"vestnik-device-token": answer.device_token},
        cookies=(device_cookie(incoming.context.settings, answer.device_token),),
        position=answer.position,
        written_by=caller.user_id,
    )


async def end(incoming: Request[NoQuery, TotpEnd]) -> Response:
    auth, caller, limiter = incoming.context.remotes.auth, incoming.caller, incoming.context.limiter
    request = EndTotpRequest(
        user_id=caller.user_id,
        password=incoming.body.password,
        code=incoming.body.code,
        session_id=caller.session_id,
        address=incoming.address,
    )
    guesses = (
        password_attempts.of_user(limiter, caller.user_id),
        password_attempts.of_code(limiter, caller.user_id),
    )
    with password_attempts.judged(*guesses):
        for guess in guesses:
            incoming.limit_states.extend(guess.limit_states)
            rate_limiter.check(guess.limit_states)
        answer = await auth.command(auth.stub.end_totp, request, repeatable=False)
    return Response(status=204, position=answer.position, written_by=caller.user_id)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="POST",
        path=_PATH,
        tag="Users",
        summary="Set up two-step verification",
        description=(
            "Creates a secret for an authenticator app (TOTP, RFC 6238: SHA-1, six digits, 30 seconds). It needs the "
            "password, so that a stolen access token cannot do it. Nothing changes until `confirm`; a second set-up "
            "replaces the first, and one that is not confirmed lapses after an hour."
        ),
        handler=begin,
        query=NoQuery,
        body=TotpSetUp,
        answers={200: DocumentedResponse(description="A secret to be confirmed.", body=TotpSecret)},
        errors=(InvalidCredentials, TotpAlreadyOn),
        limits=_LIMITS,
        writes=True,
    ),
    Endpoint(
        method="POST",
        path=f"{_PATH}/confirm",
        tag="Users",
        summary="Turn two-step verification on",
        description=(
            "With the first code of the app. From now on a login needs a code, except from a device that proved one in "
            "the last 30 days: this one, if it sends the device token of this response. Other sessions continue; their "
            "devices need a code at the next login."
        ),
        handler=confirm,
        query=NoQuery,
        body=TotpConfirmation,
        answers={
            200: DocumentedResponse(
                description="Two-step verification is on.",
                body=RecoveryCodes,
                headers=("Vestnik-Device-Token", "Set-Cookie"),
            )
        },
        errors=(InvalidTotp, TotpNotBegun),
        limits=_LIMITS,
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path=_PATH,
        tag="Users",
        summary="Turn two-step verification off",
        description=(
            "The recovery codes become void, and no device is remembered any more. Repeated, or if it is off: 204, "
            "if the password is right."
        ),
        handler=end,
        query=NoQuery,
        body=TotpEnd,
        answers={204: DocumentedResponse(description="Two-step verification is off.")},
        errors=(InvalidCredentials, InvalidTotp),
        limits=_LIMITS,
        writes=True,
    ),
)
