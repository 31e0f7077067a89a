"""A message as the server delivered it, and the little that is to be read out of its headers."""

import msgspec

_VERSION = b"NATS/1.0"
_STATUS_LENGTH = 3


class Delivered(msgspec.Struct, frozen=True, gc=False):
    subject: str
    # Where an answer would go; for a stored message the server's word of where it stands.
    reply: str
    data: bytes
    # Those that the server itself wrote; `Status` and `Description` for what it says on its own account.
    headers: dict[str, str] | None = None

    @property
    def status(self) -> str | None:
        """The status of a message that the server itself wrote (`408`, `503`); None for any other."""
        return self.headers.get("Status") if self.headers else None


def is_status(block: bytes) -> bool:
    """Whether the headers begin with a status: the server speaks on its own account."""
    return block.startswith(b" ", len(_VERSION))


def read_headers(block: bytes) -> dict[str, str]:
    """The headers, from `NATS/1.0` to the empty line."""
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
