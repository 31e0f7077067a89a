"""Reads request bodies within limits of size and time, then decodes them into the struct that a route declares."""

import asyncio
from collections.abc import Collection
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from contracts.errors import BodyTooLarge, Invalid, MalformedJson, UnsupportedMediaType
from contracts.values.validation import violation
from services.gateway.http import strict_json

LARGEST = 64 * 1024
JSON = "application/json"
# Seconds in which the body must arrive.
PATIENCE = 15.0

T = TypeVar("T")


def check_length(declared: str | None) -> None:
    """
    Raises:
        BodyTooLarge: the body is declared larger than 64 KiB.
    """
    if declared is not None and declared.isdecimal() and int(declared[:20]) > LARGEST:
        raise BodyTooLarge


def check_size(body: bytes) -> None:
    """
    Raises:
        BodyTooLarge: the body is larger than 64 KiB.
    """
    if len(body) > LARGEST:
        raise BodyTooLarge


async def read(receive: Receive) -> bytes:
    """Receives the whole body.

    Raises:
        BodyTooLarge: it is larger than 64 KiB.
        MalformedJson: it did not arrive in time.
        ClientDisconnect: the client disconnected.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            return await _received(receive)
    except TimeoutError as error:
        raise MalformedJson("The body did not arrive in time.") from error


async def _received(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        body = body + part if body else part
        if len(body) > LARGEST:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return body


def check_media_type(content_type: str | None, accepted: Collection[str]) -> None:
    """Accepts one of the media types, in UTF-8.

    Raises:
        UnsupportedMediaType: the type is another or missing, or the charset is not UTF-8.
    """
    essence, _, parameters = (content_type or "").partition(";")
    if essence.strip().lower() not in accepted:
        raise UnsupportedMediaType(f"The content type must be {' or '.join(accepted)}.")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("The body must be in UTF-8.")


def decode(body: bytes, decoder: msgspec.json.Decoder[T], names: Collection[bytes] = ()) -> T:
    """Decodes the body; `names`: the field names of its type, in quotation marks.

    Raises:
        MalformedJson: it is not JSON in UTF-8.
        Invalid: it is JSON of another shape, nested too deeply, holds half a surrogate pair or a huge number, or has a
            name twice.
    """
    try:
        body.decode("utf-8")
        decoded = decoder.decode(body)
        strict_json.check_names(body, names)
        return decoded
    except msgspec.ValidationError as error:
        # The decoder stops at the first invalid value; what follows may not be JSON.
        _check_json(body)
        raise Invalid(violations=(violation(error),)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        strict_json.check_values(body)
        raise MalformedJson from error
    except RecursionError as error:
        raise Invalid("The body is nested too deeply.") from error


def _check_json(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except RecursionError:
        return
    except msgspec.DecodeError as error:
        strict_json.check_values(body)
        raise MalformedJson from error
