"""The synchronous calls of `services/gateway/http/scope_extensions.py` for HTTP."""

import weakref
from functools import partial
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from services.gateway.http.scope_extensions import ANSWER, MORE, TAKE_BODY

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_CLOSE = b"connection: close\r\n"


class _DefaultHead:
    """The default headers, serialized once per list; the server makes a new list each second, with the date."""

    def __init__(self) -> None:
        self._of: list[tuple[bytes, bytes]] | None = None
        self._head = b""

    def head(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of = headers
            self._head = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        return self._head


_COMMON = _DefaultHead()


def expose(cycle: RequestResponseCycle) -> None:
    """Adds the calls to the request's scope."""
    scope = cast("MutableMapping[str, object]", cycle.scope)
    # The cycle refers to the scope. A weak reference back frees a request once it is answered.
    reference = weakref.ref(cycle)
    scope[TAKE_BODY] = partial(_take_body, reference)
    scope[ANSWER] = partial(_write_response, reference)
    scope[MORE] = partial(_write_chunk, reference)


def _take_body(reference: "weakref.ref[RequestResponseCycle]") -> bytes | None:
    """Takes the body if all of it has arrived and no `100 Continue` has to be sent first; else None."""
    cycle = reference()
    if (
        cycle is None
        or cycle.more_body
        or cycle.disconnected
        or cycle.response_complete
        or cycle.waiting_for_100_continue
    ):
        return None
    # As in `receive`: the next `receive` waits for the disconnect.
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


def _write_response(reference: "weakref.ref[RequestResponseCycle]", status: int, head: bytes, body: bytes) -> None:
    """Writes the whole response; the caller checks first that the socket is writable.

    `head`: its header fields, each with its line ending, content-length included.
    """
    cycle = reference()
    if cycle is None or cycle.disconnected or cycle.response_started:
        return
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    parts = [STATUS_LINE[status], _COMMON.head(cycle.default_headers), head]
    if not cycle.keep_alive:
        parts.append(_CLOSE)
    parts.append(b"\r\n")
    if cycle.scope["method"] != "HEAD":
        parts.append(body)
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _write_chunk(reference: "weakref.ref[RequestResponseCycle]", chunk: bytes) -> None:
    """Writes a chunk of a response without a length; the caller checks first that the socket is writable."""
    cycle = reference()
    if cycle is not None and not cycle.disconnected:
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
