"""Encodes and decodes the messages of a multiplexing stream.

Protobuf merges the repeated fields of concatenated messages. So each part is encoded as a message of its own, and the
sender joins the bytes of the parts that go out together.
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

# The C library's own message classes: these two are used for every call, and only here.
_CALLS: Any = GetMessageClass(Calls.DESCRIPTOR)
_ANSWERS: Any = GetMessageClass(Answers.DESCRIPTOR)
_DETAILS = ProtoStatusDetailsCodec()
PATH = "/vestnik.calls.v1.CallService/Carry"
AUTHORIZATION = "authorization"
STOPPING: bytes = _ANSWERS(stopping=True).SerializeToString()


class Call(Protocol):
    """A received call."""

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
    """Encodes a call; `timeout` in seconds."""
    message = _CALLS()
    message.calls.add(
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
    return cast(bytes, message.SerializeToString())


def given_up(number: int) -> bytes:
    return cast(bytes, _CALLS(given_up=(number,)).SerializeToString())


def answer(number: int, response: bytes) -> bytes:
    message = _ANSWERS()
    message.answers.add(id=number, response=response)
    return cast(bytes, message.SerializeToString())


def refusal(number: int, error: GRPCError) -> bytes:
    details = _DETAILS.encode(error.status, error.message, error.details)
    message = _ANSWERS()
    message.answers.add(id=number, status=error.status.value, message=error.message or "", details=details)
    return cast(bytes, message.SerializeToString())


def read_calls(message: bytes) -> tuple[Iterable[Call], Iterable[int]]:
    """The calls in a message, and the numbers of the calls that it cancels.

    Raises:
        Invalid: the message cannot be decoded.
    """
    try:
        read = _CALLS.FromString(message)
    except DecodeError as error:
        raise Invalid("The message cannot be read.") from error
    return read.calls, read.given_up


def read_answers(message: bytes) -> tuple[Iterable[Answer], bool]:
    """The answers in a message, and whether the service is stopping.

    Raises:
        Invalid: the message cannot be decoded.
    """
    try:
        read = _ANSWERS.FromString(message)
    except DecodeError as error:
        raise Invalid("The message cannot be read.") from error
    return read.answers, read.stopping


def failure(answer: Answer) -> GRPCError:
    """The error in an answer that is not OK, as a call on its own stream would raise it."""
    try:
        status = Status(answer.status)
        details = _DETAILS.decode(status, answer.message, answer.details)
    except (ValueError, DecodeError):
        return GRPCError(Status.UNKNOWN, "The answer cannot be read.")
    return GRPCError(status, answer.message, details)
