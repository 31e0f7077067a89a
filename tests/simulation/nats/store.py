"""The streams of the simulated server: stored messages by sequence, some of which may be lost."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Headers = dict[str, str]
_CONDITION = "Nats-Expected-Last-Subject-Sequence"


class Stored:
    def __init__(self, sequence: int, subject: str, data: bytes, headers: Headers, at_ns: int) -> None:
        self.sequence = sequence
        self.subject = subject
        self.data = data
        self.headers = headers
        self.at_ns = at_ns

    @property
    def time(self) -> str:
        seconds, nanoseconds = divmod(self.at_ns, 1_000_000_000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"

    @property
    def block(self) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"NATS/1.0\r\n{lines}\r\n".encode()


class Stream:
    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix
        self.messages: list[Stored] = []
        self.last_of: dict[str, int] = {}
        self.known_ids: dict[str, tuple[int, float]] = {}
        # Sequences whose messages can no longer be read.
        self.lost: set[int] = set()

    @property
    def end(self) -> int:
        return len(self.messages)

    def matching(self, subject: str, after: int) -> Iterator[Stored]:
        """The messages of a subject after a sequence; the lost ones are left out."""
        return (
            message
            for message in self.messages[after:]
            if message.sequence not in self.lost and matches(subject, message.subject)
        )

    def find(self, request: dict[str, Any], end: int) -> Stored | None:
        """The message that a get asks for, from a replica that has the stream up to `end`."""
        if "last_by_subj" in request:
            sequence = self.last_of.get(request["last_by_subj"], 0)
        elif "next_by_subj" in request:
            message = next(self.matching(request["next_by_subj"], request["seq"] - 1), None)
            sequence = message.sequence if message else 0
        else:
            sequence = request["seq"]
        return self.messages[sequence - 1] if 0 < sequence <= end and sequence not in self.lost else None

    def holds(self, subject: str, headers: Headers) -> bool:
        """Whether the condition of an append holds."""
        expected = headers.get(_CONDITION)
        return expected is None or int(expected) == self.last_of.get(subject, 0)


def matches(pattern: str, subject: str) -> bool:
    if pattern in (subject, ">"):
        return True
    tokens, words = pattern.split("."), subject.split(".")
    for number, token in enumerate(tokens):
        if token == ">":
            return len(words) > number
        if number >= len(words) or token not in ("*", words[number]):
            return False
    return len(tokens) == len(words)


def error(code: int, err_code: int, description: str) -> dict[str, Any]:
    """The answer of the API to a request that it refuses."""
    return {"error": {"code": code, "err_code": err_code, "description": description}}
