"""A recorded history: one message per line with sender, recipient, time and text, in the order of sending.

The whole file is checked before the first request, because a bad line found half-way would leave a half-loaded system.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from infra.load.errors import LoadError

HEADER = ["sender", "recipient", "unix_time", "text"]
_GZIP = b"\x1f\x8b"
_LONGEST_TEXT = 4_000

# Two people, the first writer first.
Pair = tuple[str, str]


class Line(msgspec.Struct, frozen=True, gc=False):
    """One message of the history."""

    # Line number in the file; the header is line 1. It identifies the message, whatever part of the file is loaded.
    number: int
    sender: str
    recipient: str
    text: str


class History(msgspec.Struct, frozen=True):
    """The messages to replay."""

    # SHA-256 of the whole content, unpacked: the same for a file and its gzip, and with any limit.
    digest: str
    # In the order of first appearance.
    people: list[str]
    # Each pair with its messages in order; pairs in the order of their first message.
    conversations: dict[Pair, list[Line]]

    @property
    def messages(self) -> int:
        return sum(map(len, self.conversations.values()))


def read_history(path: Path, limit: int | None = None) -> History:
    """Reads and checks the file; with a limit, only the first messages are kept, but the whole file is hashed.

    Messages of white space only are left out.

    Raises:
        LoadError: the file cannot be read, or a line of it is not a message.
    """
    content = _content(path)
    people: dict[str, None] = {}
    conversations: dict[Pair, list[Line]] = {}
    for line in _lines(content, path.name, limit):
        # The gateway refuses these.
        if line.text.isspace():
            continue
        people[line.sender] = people[line.recipient] = None
        pair = (line.sender, line.recipient)
        if pair not in conversations and pair[::-1] in conversations:
            pair = pair[::-1]
        conversations.setdefault(pair, []).append(line)
    if not conversations:
        raise LoadError(f"{path.name} has no messages.")
    return History(hashlib.sha256(content).hexdigest(), list(people), conversations)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except OSError as error:
        raise LoadError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise LoadError(f"{path} is not a whole gzip file: {error}.") from error


def _lines(content: bytes, name: str, limit: int | None) -> Iterator[Line]:
    # Split at newlines only: texts may contain other characters that `splitlines` treats as line ends.
    rows = content.split(b"\n")
    ending = b"\r" if rows[0].endswith(b"\r") else b""
    if rows[0].removesuffix(ending) != "\t".join(HEADER).encode():
        raise LoadError(f"{name}, line 1: the header must be {' '.join(HEADER)}, with tabs between.")
    if rows[-1] == b"":
        rows.pop()
    for number, row in enumerate(rows[1:], 2):
        if limit is not None and number > limit + 1:
            return
        yield _line(row.removesuffix(ending), number, name)


def _line(row: bytes, number: int, name: str) -> Line:
    try:
        fields = row.decode().split("\t")
    except UnicodeDecodeError as error:
        raise LoadError(f"{name}, line {number}: is not UTF-8.") from error
    if len(fields) != len(HEADER):
        raise LoadError(f"{name}, line {number}: has {len(fields)} fields, not {len(HEADER)}.")
    sender, recipient, unix_time, text = fields
    if not sender or not recipient:
        raise LoadError(f"{name}, line {number}: the sender or the recipient is missing.")
    if sender == recipient:
        raise LoadError(f"{name}, line {number}: the sender is the recipient.")
    if not unix_time.isascii() or not unix_time.isdigit():
        raise LoadError(f"{name}, line {number}: {unix_time[:20]!r} is not a Unix time.")
    if not 1 <= len(text) <= _LONGEST_TEXT or "\x00" in text:
        raise LoadError(f"{name}, line {number}: a text has 1 to {_LONGEST_TEXT} characters, none of them NUL.")
    return Line(number, sender, recipient, text)
