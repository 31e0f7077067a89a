"""Maps our errors to gRPC and back: the status is the kind, google.rpc.ErrorInfo has the stable code and members."""

from collections.abc import Sequence

from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpclib import GRPCError, Status

from contracts.errors import BY_CODE, DeadlineExceeded, Overloaded, Unavailable, VestnikError, Violation

DOMAIN = "vestnik"
_NOT_EXECUTED = "not_executed"
# A replica that lacks a method is of the previous release, and is about to be replaced.
_UPGRADE_SECONDS = 5


def to_grpc(error: VestnikError, *, executed: bool = True) -> GRPCError:
    """With `executed=False` the caller learns that the call was not begun and may be retried on another replica."""
    metadata = dict(error.members) if executed else {**error.members, _NOT_EXECUTED: "true"}
    details: list[object] = [ErrorInfo(reason=error.code, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(
                        field=violation.path, description=violation.message, reason=violation.code
                    )
                    for violation in error.violations
                ]
            )
        )
    if error.retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromSeconds(error.retry_after)
        details.append(retry)
    return GRPCError(Status[error.grpc], error.detail, details)


def from_grpc(error: GRPCError) -> VestnikError:
    """The error that the service raised; a foreign error, or one of a later release, becomes the nearest of ours."""
    details: Sequence[object] = error.details or ()
    info = _info(details)
    retry = next((int(detail.retry_delay.seconds) for detail in details if isinstance(detail, RetryInfo)), None)
    if info is None or info.reason not in BY_CODE:
        if error.status in (Status.UNAVAILABLE, Status.CANCELLED):
            return Unavailable(retry_after=retry)
        if error.status is Status.RESOURCE_EXHAUSTED:
            return Overloaded(retry_after=retry)
        if error.status is Status.DEADLINE_EXCEEDED:
            # The server's deadline was earlier than the caller's: grpclib truncates those over 10 s to whole seconds.
            return DeadlineExceeded()
        if error.status is Status.UNIMPLEMENTED:
            return Unavailable(retry_after=_UPGRADE_SECONDS)
        return VestnikError("Something went wrong.")
    violations = tuple(
        Violation(violation.field, violation.description, violation.reason)
        for detail in details
        if isinstance(detail, BadRequest)
        for violation in detail.field_violations
    )
    members = {name: value for name, value in info.metadata.items() if name != _NOT_EXECUTED}
    return BY_CODE[info.reason](error.message, retry_after=retry, violations=violations, members=members)


def was_executed(error: GRPCError) -> bool:
    """False only if the service said that it did not begin the call, or does not have the method."""
    if error.status is Status.UNIMPLEMENTED:
        return False
    info = _info(error.details or ())
    return info is None or _NOT_EXECUTED not in info.metadata


def _info(details: Sequence[object]) -> ErrorInfo | None:
    return next((detail for detail in details if isinstance(detail, ErrorInfo) and detail.domain == DOMAIN), None)
