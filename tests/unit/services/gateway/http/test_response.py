from typing import Any

import pytest
from starlette.types import Message

from services.gateway.http.response import REQUEST_ID, STATUS, WholeResponse
from services.gateway.http.scope_extensions import ANSWER, CAN_WRITE


async def nothing() -> Message:
    return {"type": "http.disconnect"}


async def answered(response: WholeResponse, *, taken: bool) -> tuple[list[Any], list[Message]]:
    """Sends a response; returns what was written directly, and what through ASGI's `send`."""
    short: list[Any] = []
    usual: list[Message] = []

    async def send(message: Message) -> None:
        usual.append(message)

    scope = {
        "type": "http",
        "state": {REQUEST_ID: "r-1"},
        CAN_WRITE: lambda: taken,
        ANSWER: lambda *whole: short.append(whole),
    }
    await response(scope, nothing, send)
    assert scope["state"] == {REQUEST_ID: "r-1", STATUS: response.status_code}
    return short, usual


async def test_an_answer_goes_out_as_one_piece_where_it_is_taken_at_once() -> None:
    short, usual = await answered(WholeResponse(b"{}", 201, {"x-one": "1", "x-two": "two; three"}), taken=True)
    assert short == [(201, b"x-one: 1\r\nx-two: two; three\r\ncontent-length: 2\r\nx-request-id: r-1\r\n", b"{}")]
    assert not usual


async def test_a_client_that_takes_nothing_is_waited_for() -> None:
    short, usual = await answered(WholeResponse(b"{}", 200, {"x-one": "1"}), taken=False)
    assert not short
    assert usual[0]["headers"] == [(b"x-one", b"1"), (b"content-length", b"2"), (b"x-request-id", b"r-1")]
    assert usual[1]["body"] == b"{}"


async def test_what_has_no_content_has_no_length() -> None:
    short, _ = await answered(WholeResponse(b"", 204, {"x-one": "1"}), taken=True)
    assert short == [(204, b"x-one: 1\r\nx-request-id: r-1\r\n", b"")]


@pytest.mark.parametrize("value", ["1\r\nx-more: 2", "1\n", "\r", "a\0b"])
async def test_a_value_begins_no_header_of_its_own(value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        await answered(WholeResponse(b"", 200, {"x-one": value}), taken=True)
