"""RFC 9457 problem documents, made from the errors in contracts; they show nothing internal."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.errors import VestnikError

MEDIA_TYPE = "application/problem+json"
# Nothing in an error response may run or be framed; the headers of every response are in
# server/uvicorn_server.py.
NOTHING_TO_RUN = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}
# Responses with these statuses have Retry-After. A command with an id of its own is safe to repeat.
WORTH_RETRYING = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
# Retry-After in seconds, if the error has none of its own.
_RETRY_AFTER = 1


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with the request."""

    path: Annotated[str, Meta(description="JSON pointer into the body, or `/query/<name>`, `/header/<name>`.")]
    message: str
    code: Annotated[
        str | UnsetType,
        Meta(
            description="Stable code for programs: `weak_password` for a password that is easy to guess, "
            "`reserved_username` for a name that is not available to anyone."
        ),
    ] = UNSET


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error (RFC 9457)."""

    type: Annotated[str, Meta(description="Identifies the kind of problem; relative to the server.")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: Annotated[str, Meta(description="The requested path.")]
    code: Annotated[str, Meta(description="Stable code for programs.")]
    errors: Annotated[
        list[FieldError] | UnsetType, Meta(description="The violations, if the request is not valid.")
    ] = UNSET
    email: Annotated[
        str | UnsetType,
        Meta(
            description="With `email_not_verified`: the address of the registration, for `POST "
            "/v1/users/resend-verification`. Absent if it cannot be looked up at the moment."
        ),
    ] = UNSET


def problem(error: VestnikError, instance: str) -> Problem:
    """The document that describes the error to a client."""
    return Problem(
        type=f"/problems/{error.code}",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        instance=instance,
        code=error.code,
        errors=_field_errors(error),
        email=error.members.get("email", UNSET),
    )


def headers(error: VestnikError) -> dict[str, str]:
    """The headers that belong to the error, whatever the route."""
    fields = {**NOTHING_TO_RUN, "content-type": MEDIA_TYPE, "cache-control": "no-store"}
    if error.retry_after is not None:
        fields["retry-after"] = str(error.retry_after)
    elif error.status in WORTH_RETRYING:
        fields["retry-after"] = str(_RETRY_AFTER)
    if error.status == HTTPStatus.UPGRADE_REQUIRED:
        fields["upgrade"] = "websocket"
    if error.status == HTTPStatus.UNAUTHORIZED:
        fields["www-authenticate"] = "Bearer"
    return fields


def _field_errors(error: VestnikError) -> list[FieldError] | UnsetType:
    if error.violations:
        return [
            FieldError(violation.path, violation.message, violation.code or UNSET) for violation in error.violations
        ]
    if error.code == "invalid":
        return [FieldError("", error.detail)]
    return UNSET
