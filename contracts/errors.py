"""All errors that a caller can receive: one class per stable `code`. The docstring of an error class is its message.

Each edge maps them once: gRPC to `grpc` (a status name) with the code in the error details, REST to `status`.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec


class Violation(msgspec.Struct, frozen=True):
    """One thing wrong with an input."""

    # JSON pointer into the input, such as `/text`; empty for the whole input.
    path: str
    message: str
    # Stable code, set where clients have to distinguish several violations of one field.
    code: str = ""


def error_text(error: BaseException) -> str:
    """The error's text; the name of its class if it has none, as a time-out."""
    return str(error) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of the error's text; in errors of the database, others quote values of rows."""
    return str(error).partition("\n")[0] or type(error).__name__


class VestnikError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    grpc: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: int | None = None,
        violations: tuple[Violation, ...] = (),
        members: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        # Seconds after which a retry makes sense.
        self.retry_after = retry_after
        self.violations = violations
        # Extension members of the problem document (RFC 9457). Only the caller sees them; logs do not show them.
        self.members = members or {}
        super().__init__(self.detail)


class Invalid(VestnikError):
    """The request is not valid."""

    code, status, grpc = "invalid", 422, "INVALID_ARGUMENT"


class MalformedJson(VestnikError):
    """The body is not JSON."""

    code, status, grpc = "malformed_json", 400, "INVALID_ARGUMENT"


class BodyTooLarge(VestnikError):
    """The body is larger than 64 KiB."""

    code, status, grpc = "body_too_large", 413, "INVALID_ARGUMENT"


class UnsupportedMediaType(VestnikError):
    """The content type of the body is not supported by this route."""

    code, status, grpc = "unsupported_media_type", 415, "INVALID_ARGUMENT"


class NotFound(VestnikError):
    """This path does not exist."""

    code, status, grpc = "not_found", 404, "NOT_FOUND"


class MethodNotAllowed(VestnikError):
    """This path does not support this method."""

    code, status, grpc = "method_not_allowed", 405, "UNIMPLEMENTED"


class UpgradeRequired(VestnikError):
    """This path only accepts WebSocket connections."""

    code, status, grpc = "upgrade_required", 426, "FAILED_PRECONDITION"


class Unauthenticated(VestnikError):
    """A valid access token is needed."""

    code, status, grpc = "unauthenticated", 401, "UNAUTHENTICATED"


class Forbidden(VestnikError):
    """The caller has no right to this."""

    code, status, grpc = "forbidden", 403, "PERMISSION_DENIED"


class NotAnOperator(VestnikError):
    """This account is not an operator's."""

    code, status, grpc = "not_an_operator", 403, "PERMISSION_DENIED"


class SecondFactorRequired(VestnikError):
    """Operators need two-step verification: turn it on in the messenger's settings, then log in again with a code."""

    code, status, grpc = "second_factor_required", 403, "PERMISSION_DENIED"


class ReauthenticationRequired(VestnikError):
    """The login is too old, or the session was not used for too long; log in again."""

    code, status, grpc = "reauthentication_required", 403, "PERMISSION_DENIED"


class RateLimited(VestnikError):
    """Too many requests."""

    code, status, grpc = "rate_limited", 429, "RESOURCE_EXHAUSTED"


class UsernameTaken(VestnikError):
    """This username is taken."""

    code, status, grpc = "username_taken", 409, "ALREADY_EXISTS"


class TokenExpired(VestnikError):
    """The token has expired; request a new one."""

    code, status, grpc = "token_expired", 410, "FAILED_PRECONDITION"


class PasswordRequired(VestnikError):
    """The password is needed too: several registrations are pending on this address, or it replaces an account's."""

    code, status, grpc = "password_required", 422, "INVALID_ARGUMENT"


class InvalidToken(VestnikError):
    """The token is not valid."""

    code, status, grpc = "invalid_token", 422, "INVALID_ARGUMENT"


class InvalidCredentials(VestnikError):
    """The login or the password is wrong."""

    code, status, grpc = "invalid_credentials", 401, "UNAUTHENTICATED"


class TotpRequired(VestnikError):
    """The password is right; a code of the authenticator app, or a recovery code, is needed too."""

    code, status, grpc = "totp_required", 401, "UNAUTHENTICATED"


class InvalidTotp(VestnikError):
    """The code is wrong, or was used before."""

    code, status, grpc = "invalid_totp", 401, "UNAUTHENTICATED"


class TotpAlreadyOn(VestnikError):
    """Two-step verification is on; turn it off before setting it up again."""

    code, status, grpc = "totp_already_on", 409, "FAILED_PRECONDITION"


class TotpNotBegun(VestnikError):
    """No set-up of two-step verification awaits its first code; begin again."""

    code, status, grpc = "totp_not_begun", 409, "FAILED_PRECONDITION"


class DataExportNotFound(VestnikError):
    """There is no such copy of your data."""

    code, status, grpc = "data_export_not_found", 404, "NOT_FOUND"


class DataExportExpired(VestnikError):
    """This copy of your data could be downloaded for a day; request another one."""

    code, status, grpc = "data_export_expired", 410, "FAILED_PRECONDITION"


class DataExportNotMade(VestnikError):
    """This copy of your data could not be made."""

    code, status, grpc = "data_export_failed", 410, "FAILED_PRECONDITION"


class LegalHold(VestnikError):
    """There is a legal hold on this person's data; it cannot be erased until that is released."""

    code, status, grpc = "legal_hold", 409, "FAILED_PRECONDITION"


class EmailNotVerified(VestnikError):
    """The e-mail address has not been verified yet."""

    code, status, grpc = "email_not_verified", 403, "FAILED_PRECONDITION"


class InvalidRefreshToken(VestnikError):
    """The refresh token is not valid, or its session has ended."""

    code, status, grpc = "invalid_refresh_token", 401, "UNAUTHENTICATED"


class RefreshTokenReused(VestnikError):
    """The refresh token was used before; its session has been ended."""

    code, status, grpc = "refresh_token_reused", 401, "UNAUTHENTICATED"


class SessionNotFound(VestnikError):
    """There is no such session."""

    code, status, grpc = "session_not_found", 404, "NOT_FOUND"


class UserNotFound(VestnikError):
    """There is no such user."""

    code, status, grpc = "user_not_found", 404, "NOT_FOUND"


class ProfileNotFound(VestnikError):
    """There is no such profile."""

    code, status, grpc = "profile_not_found", 404, "NOT_FOUND"


class StaleProfile(VestnikError):
    """The profile has changed since it was read."""

    code, status, grpc = "stale_profile", 412, "ABORTED"


class SelfFriendship(VestnikError):
    """You cannot befriend yourself."""

    code, status, grpc = "self_friendship", 422, "INVALID_ARGUMENT"


class Blocked(VestnikError):
    """You have blocked this user; end the block first."""

    code, status, grpc = "blocked", 409, "FAILED_PRECONDITION"


class SelfBlock(VestnikError):
    """You cannot block yourself."""

    code, status, grpc = "self_block", 422, "INVALID_ARGUMENT"


class RequestTooSoon(VestnikError):
    """Earlier requests were declined, or withdrawn too often; try again later."""

    code, status, grpc = "request_too_soon", 429, "RESOURCE_EXHAUSTED"


class TooManyPendingRequests(VestnikError):
    """Too many of your friend requests are waiting for an answer; withdraw some first."""

    code, status, grpc = "too_many_pending_requests", 409, "FAILED_PRECONDITION"


class NotFriends(VestnikError):
    """Only friends can write to each other."""

    code, status, grpc = "not_friends", 403, "PERMISSION_DENIED"


class ClientMessageIdReused(VestnikError):
    """This client_message_id was used for another message."""

    code, status, grpc = "client_message_id_reused", 409, "ALREADY_EXISTS"


class MessageNotFound(VestnikError):
    """There is no such message."""

    code, status, grpc = "message_not_found", 404, "NOT_FOUND"


class NotSender(VestnikError):
    """Only the sender can change or delete a message."""

    code, status, grpc = "not_sender", 403, "PERMISSION_DENIED"


class MessageHasBeenDeleted(VestnikError):
    """The message was deleted."""

    code, status, grpc = "message_deleted", 409, "FAILED_PRECONDITION"


class EditWindowOver(VestnikError):
    """The message is too old to be changed."""

    code, status, grpc = "edit_window_over", 409, "FAILED_PRECONDITION"


class TooManyChanges(VestnikError):
    """The message has reached the limit of edits or of reactions."""

    code, status, grpc = "too_many_changes", 409, "FAILED_PRECONDITION"


class ReportSettled(VestnikError):
    """This report was settled, by another operator or in another way."""

    code, status, grpc = "report_settled", 409, "FAILED_PRECONDITION"


class ReadModelBehind(VestnikError):
    """The read model has not reached the requested position."""

    code, status, grpc = "read_model_behind", 503, "UNAVAILABLE"


class MaintenanceUnderWay(VestnikError):
    """Another verification or rebuild is running; one runs at a time."""

    code, status, grpc = "maintenance_under_way", 409, "FAILED_PRECONDITION"


class Overloaded(VestnikError):
    """Too much work is waiting; try again shortly."""

    code, status, grpc = "overloaded", 503, "RESOURCE_EXHAUSTED"


class OutOfSpace(Overloaded):
    """The event store has no space left: nothing is written until there is room again."""

    code, status, grpc = "out_of_space", 503, "RESOURCE_EXHAUSTED"


class Unavailable(VestnikError):
    """A part of the system is unreachable; try again shortly."""

    code, status, grpc = "unavailable", 503, "UNAVAILABLE"


class NoQuorum(Unavailable):
    """The event store cannot confirm its state at the moment; try again shortly."""

    code, status, grpc = "no_quorum", 503, "UNAVAILABLE"


class KeysUnavailable(Unavailable):
    """Personal data cannot be read or written at the moment; try again shortly."""

    code, status, grpc = "keys_unavailable", 503, "UNAVAILABLE"


class HistoryChanged(VestnikError):
    """Events before this position are permanently lost; load everything again."""

    code, status, grpc = "history_changed", 422, "FAILED_PRECONDITION"


class HistoryLost(VestnikError):
    """Stored events are missing, so no new ones are accepted until an operator has intervened."""

    code, status, grpc = "history_lost", 503, "DATA_LOSS"


class DeadlineExceeded(VestnikError):
    """The response did not arrive in time; it is unknown whether the request took effect."""

    code, status, grpc = "deadline_exceeded", 504, "DEADLINE_EXCEEDED"


def _by_code(kind: type[VestnikError]) -> dict[str, type[VestnikError]]:
    kinds = {kind.code: kind}
    for child in kind.__subclasses__():
        kinds |= _by_code(child)
    return kinds


BY_CODE: dict[str, type[VestnikError]] = _by_code(VestnikError)
