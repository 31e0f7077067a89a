from typing import Any

import pytest
from starlette.types import Message

from services.gateway.http.response import REQUEST_ID, STATUS, WholeResponse
from services.gateway.http.scope_extensions import ANSWER, CAN_WRITE


async def disconnect() -> Message:
    return {"type": "http.disconnect"}


async def answered(response: WholeResponse, *, writable: bool) -> tuple[list[Any], list[Message]]:
    """Sends a response; returns what was written directly, and what through ASGI's `send`."""
    direct: list[Any] = []
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "state": {REQUEST_ID: "r-1"},
        CAN_WRITE: lambda: writable,
        ANSWER: lambda *whole: direct.append(whole),
    }
    await response(scope, disconnect, send)
    assert scope["state"] == {REQUEST_ID: "r-1", STATUS: response.status_code}
    return direct, sent


async def test_a_response_is_written_as_one_piece_where_the_socket_is_writable() -> None:
    direct, sent = await answered(WholeResponse(b"{}", 201, {"x-one": "1", "x-two": "two; three"}), writable=True)
    assert direct == [(201, b"x-one: 1\r\nx-two: two; three\r\ncontent-length: 2\r\nx-request-id: r-1\r\n", b"{}")]
    assert not sent


async def test_a_client_whose_socket_is_not_writable_is_waited_for() -> None:
    direct, sent = await answered(WholeResponse(b"{}", 200, {"x-one": "1"}), writable=False)
    assert not direct
    assert sent[0]["headers"] == [(b"x-one", b"1"), (b"content-length", b"2"), (b"x-request-id", b"r-1")]
    assert sent[1]["body"] == b"{}"


async def test_a_response_without_content_has_no_length() -> None:
    direct, _ = await answered(WholeResponse(b"", 204, {"x-one": "1"}), writable=True)
    assert direct == [(204, b"x-one: 1\r\nx-request-id: r-1\r\n", b"")]


@pytest.mark.parametrize("value", ["1\r\nx-more: 2", "1\n", "\r", "a\0b"])
async def test_a_value_begins_no_header_of_its_own(value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        await answered(WholeResponse(b"", 200, {"x-one": value}), writable=True)
