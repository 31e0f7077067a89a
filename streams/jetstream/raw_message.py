"""A message as the server delivered it, and the parsing of its headers."""

import msgspec

_VERSION = b"NATS/1.0"
_STATUS_LENGTH = 3


class Delivered(msgspec.Struct, frozen=True, gc=False):
    subject: str
    # The reply subject; for a stored message it contains the message's position.
    reply: str
    data: bytes
    # The parsed headers, if any; of a message by the server itself `Status` and `Description` as well.
    headers: dict[str, str] | None = None

    @property
    def status(self) -> str | None:
        """The status of a message that the server itself wrote (`408`, `503`); None for any other."""
        return self.headers.get("Status") if self.headers else None


def is_status(block: bytes) -> bool:
    """Whether the headers begin with a status, as those of the server's own messages do."""
    return block.startswith(b" ", len(_VERSION))


def read_headers(block: bytes) -> dict[str, str]:
    """Parses the headers, from `NATS/1.0` to the empty line."""
    first, *lines = block.decode(errors="replace").split("\r\n")
    headers: dict[str, str] = {}
    if status := first[len(_VERSION) :].strip():
        headers["Status"] = status[:_STATUS_LENGTH]
        if description := status[_STATUS_LENGTH:].strip():
            headers["Description"] = description
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return headers
