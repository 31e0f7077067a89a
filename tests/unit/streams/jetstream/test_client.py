"""The parser of a connection, without a server: what cannot be read ends the connection, not the reading alone."""

from typing import Any, cast

import pytest
from nats.errors import ProtocolError

from streams.jetstream.client import DirectParser
from streams.jetstream.raw_message import Delivered


class Connection:
    """The part of a client that its parser uses."""

    def __init__(self) -> None:
        self.received: list[Delivered] = []
        self.direct_handlers = {1: (self.take, True)}
        self.stats = {"in_msgs": 0, "in_bytes": 0}

    def take(self, message: Delivered) -> None:
        self.received.append(message)
        if message.data == b"fail":
            raise KeyError("a handler's own")


def parser() -> tuple[DirectParser, Connection]:
    connection = Connection()
    return DirectParser(cast(Any, connection)), connection


@pytest.mark.parametrize("line", [b"MSG a 0", b"HMSG 0", b"MSG a 1 x", b"INFO {", b"INFO \xff"])
async def test_a_line_that_cannot_be_read_is_an_error_of_the_protocol(line: bytes) -> None:
    """The library connects again after such an error; any other one would end its reading silently."""
    parsing, _ = parser()
    with pytest.raises(ProtocolError):
        await parsing.parse(line + b"\r\n\r\n")


async def test_the_bytes_of_a_subject_and_a_reply_are_any() -> None:
    parsing, connection = parser()
    await parsing.parse(b"MSG \xff 1 \xfe 4\r\nfail\r\nMSG a.b 1 r 2\r\nab\r\n")
    assert [(message.subject, message.reply, message.data) for message in connection.received] == [
        ("\ufffd", "\ufffd", b"fail"),
        ("a.b", "r", b"ab"),
    ]
