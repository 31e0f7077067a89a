"""The messages of a stream of calls as bytes: each part is a message by itself, and parts in a row are one too.

Protobuf joins repeated fields of messages that stand one behind the other, so whoever sends needs no list of what goes
out together: it keeps parts, and joins their bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpclib import GRPCError, Status
from grpclib.encoding.proto import ProtoStatusDetailsCodec

from contracts.errors import Invalid
from contracts.rpc.vestnik.calls.v1 import Answers, Calls
from infra.rpc.call_context import CORRELATION_ID, POSITION, REQUEST_ID, TRACEPARENT

# The C library's own objects: these two are on the way of every call, and nobody else works with them.
_CALLS: Any = GetMessageClass(Calls.DESCRIPTOR)
_ANSWERS: Any = GetMessageClass(Answers.DESCRIPTOR)
_DETAILS = ProtoStatusDetailsCodec()
PATH = "/vestnik.calls.v1.CallService/Carry"
AUTHORIZATION = "authorization"
STOPPING: bytes = _ANSWERS(stopping=True).SerializeToString()


class Call(Protocol):
    """As it comes in."""

    id: int
    method: str
    request: bytes
    timeout: int
    authorization: str
    request_id: str
    correlation_id: str
    traceparent: str
    position: str


class Answer(Protocol):
    id: int
    response: bytes
    status: int
    message: str
    details: bytes


def call(number: int, method: str, request: bytes, *, timeout: float, metadata: Mapping[str, str]) -> bytes:
    """`timeout`: in seconds."""
    made = _CALLS()
    made.calls.add(
        id=number,
        method=method,
        request=request,
        timeout=max(1, round(timeout * 1_000)),
        authorization=metadata.get(AUTHORIZATION, ""),
        request_id=metadata.get(REQUEST_ID, ""),
        correlation_id=metadata.get(CORRELATION_ID, ""),
        traceparent=metadata.get(TRACEPARENT, ""),
        position=metadata.get(POSITION, ""),
    )
    return cast(bytes, made.SerializeToString())


def given_up(number: int) -> bytes:
    return cast(bytes, _CALLS(given_up=(number,)).SerializeToString())


def answer(number: int, response: bytes) -> bytes:
    made = _ANSWERS()
    made.answers.add(id=number, response=response)
    return cast(bytes, made.SerializeToString())


def refusal(number: int, error: GRPCError) -> bytes:
    details = _DETAILS.encode(error.status, error.message, error.details)
    made = _ANSWERS()
    made.answers.add(id=number, status=error.status.value, message=error.message or "", details=details)
    return cast(bytes, made.SerializeToString())


def read_calls(message: bytes) -> tuple[Iterable[Call], Iterable[int]]:
    """The calls that a message brings, and those that it gives up.

    Raises:
        Invalid: it is none.
    """
    try:
        read = _CALLS.FromString(message)
    except DecodeError as error:
        raise Invalid("The message cannot be read.") from error
    return read.calls, read.given_up


def read_answers(message: bytes) -> tuple[Iterable[Answer], bool]:
    """The answers that a message brings, and whether the service stops.

    Raises:
        Invalid: it is none.
    """
    try:
        read = _ANSWERS.FromString(message)
    except DecodeError as error:
        raise Invalid("The message cannot be read.") from error
    return read.answers, read.stopping


def failure(found: Answer) -> GRPCError:
    """What an answer says that is not OK, as a call by itself would raise it."""
    try:
        status = Status(found.status)
        details = _DETAILS.decode(status, found.message, found.details)
    except (ValueError, DecodeError):
        return GRPCError(Status.UNKNOWN, "The answer cannot be read.")
    return GRPCError(status, found.message, details)
