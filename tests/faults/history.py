"""The record of one run: what clients asked and were answered, live events, faults, mails and processes.

`tests.faults.recording` writes the records as they happen, and reads them as `History`, sorted by kind, which
`tests.faults.checker` compares with the product's promises. The final state (conversations, streams, read models) is
recorded in the same way after the last fault has ended.

Times are seconds of `time.monotonic`, which is one clock for all processes of the machine. Tokens are recorded as
digests (`digest`). Arguments and answers by operation:

| operation | arguments | answer |
|---|---|---|
| `register` | `email`, `username` | `user_id` |
| `verify` | `email`, `username`, `token` | |
| `log_in` | `email`, `username` | `user_id`, `session_id`, `refresh_token` |
| `refresh` | `refresh_token` | `refresh_token` |
| `revoke` | `session_id`: the session to end | |
| `look` (any cheap request with a token) | | |
| `befriend`, `unfriend` | `other` | `state` |
| `send` | `other`, `text`, `client_message_id` | `message_id`, `sequence` |
| `read` (the newest messages, newest first) | `other` | `messages`: `[[sequence, message_id], …]` |
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Self, TypeVar

import msgspec

# A JSON object as it came over the wire.
Json = dict[str, Any]
R = TypeVar("R", bound="Record")
T = TypeVar("T")
# Why a client that followed to the end of the run has closed its last connection.
LEFT = "left"
VERIFICATION = "verification"


class Outcome(StrEnum):
    OK = "ok"
    # Answered with an error after which nothing has happened, now or later: below 500.
    REFUSED = "refused"
    # No answer, or one that leaves open whether the request has had its effect: 500 and above.
    UNKNOWN = "unknown"


class Record(msgspec.Struct, frozen=True, tag_field="record", omit_defaults=True):
    """One line of the file; its field `record` is the name of the class."""


class ClientRecord(Record, frozen=True, kw_only=True):
    client: str
    # Empty for requests without a session; `refresh` has the session that its token belongs to.
    user_id: str = ""
    session_id: str = ""


class Request(ClientRecord, frozen=True, kw_only=True, tag=True):
    """One attempt of a client; a repetition is a record of its own with the same arguments."""

    operation: str
    arguments: Json = {}
    # `rest` or `websocket`.
    transport: str = "rest"
    # The gateway or proxy that was asked, as host and port.
    target: str = ""
    started: float
    ended: float
    outcome: Outcome
    # 0: no answer.
    status: int = 0
    # The problem's `code`; empty where there is none, such as in nginx's own answers. Without an answer the error.
    code: str = ""
    answer: Json = {}
    request_id: str = ""
    retry_after: str = ""
    # `Vestnik-Position` of the request and of the answer.
    sent_position: str = ""
    position: str = ""


class Connection(ClientRecord, frozen=True, kw_only=True, tag=True):
    """One live connection, recorded when it has ended."""

    # 1, 2, 3 for each client.
    connection: int
    # `sse` or `websocket`.
    transport: str
    resumed_from: str
    target: str = ""
    opened: float
    closed: float
    # The status of a refusal; 200 or 101 for a connection that was open.
    status: int = 0
    # Why it ended; `LEFT`: the client has ended it since it has all that it waited for.
    reason: str = ""


class LiveEvent(ClientRecord, frozen=True, kw_only=True, tag=True):
    """An event that a live connection delivered."""

    connection: int
    id: str
    type: str
    data: Json
    received: float


class Fault(Record, frozen=True, kw_only=True, tag=True):
    """A fault that the nemesis caused, recorded when it has ended."""

    name: str
    # Hosts, links or processes.
    targets: list[str]
    begun: float
    ended: float
    # The number of the step in the seed's schedule.
    step: int = 0
    # Whether it took away what requests need, so that they may fail as long as it lasts.
    is_outage: bool = False


class Mail(Record, frozen=True, kw_only=True, tag=True):
    """A mail that the mail server accepted."""

    address: str
    message_id: str
    # `VERIFICATION`, or the subject of another kind.
    kind: str
    # Digests of the tokens in it.
    tokens: list[str] = []
    received: float


class ProcessState(Record, frozen=True, kw_only=True, tag=True):
    """A process of the product or of its servers has changed its state."""

    process: str
    at: float
    # `started`, `ready`, `not_ready`, `ended`.
    state: str
    exit_code: int = 0
    # Whether the laboratory caused it.
    expected: bool = False


class ProcessSample(Record, frozen=True, kw_only=True, tag=True):
    """What a process holds at a moment."""

    process: str
    pid: int
    at: float
    resident_bytes: int
    open_files: int


class Message(msgspec.Struct, frozen=True):
    """A message as a person reads it at the end."""

    message_id: str
    sequence: int
    sender_id: str
    text: str


class FinalConversation(Record, frozen=True, kw_only=True, tag=True):
    """The whole conversation as one of its two people reads it at the end, in the order of the answers."""

    reader: str
    other: str
    messages: list[Message]


class StoredEvent(msgspec.Struct, frozen=True, array_like=True):
    """One event of a stream, read whole at the end."""

    sequence: int
    event_id: str
    type: str
    # The aggregate's subject.
    subject: str
    version: int


class FinalStream(Record, frozen=True, kw_only=True, tag=True):
    """A part of a stream at the end; a long stream has several records, in order."""

    stream: str
    # A list of `StoredEvent`, as JSON until it is needed: a million of them would fill the memory.
    encoded: msgspec.Raw

    @classmethod
    def of(cls, stream: str, events: list[StoredEvent]) -> Self:
        return cls(stream=stream, encoded=msgspec.Raw(msgspec.json.encode(events)))

    @property
    def events(self) -> list[StoredEvent]:
        return msgspec.json.decode(self.encoded, type=list[StoredEvent])


class FinalReadModel(Record, frozen=True, kw_only=True, tag=True):
    """What `vestnik verify` says of a read model."""

    name: str
    is_equal: bool
    # What differs.
    differences: str = ""


AnyRecord = (
    Request
    | Connection
    | LiveEvent
    | Fault
    | Mail
    | ProcessState
    | ProcessSample
    | FinalConversation
    | FinalStream
    | FinalReadModel
)


class History:
    """All records of a run, each kind in the order of recording."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: dict[type[Record], list[Record]] = {}
        for record in records:
            self._records.setdefault(type(record), []).append(record)
        self._derived: dict[Callable[[History], Any], Any] = {}

    def of(self, kind: type[R]) -> list[R]:
        return self._records.get(kind, [])  # type: ignore[return-value]  # each list has records of its key alone

    def requests(self, *operations: str) -> list[Request]:
        return [request for request in self.of(Request) if request.operation in operations]

    def once(self, derive: "Callable[[History], T]") -> T:
        """The cached result of a function of the history."""
        if derive not in self._derived:
            self._derived[derive] = derive(self)
        return self._derived[derive]  # type: ignore[no-any-return]  # each value is of its function

    @property
    def acknowledged(self) -> int:
        """The number of different messages that were acknowledged."""
        return len({request.answer["message_id"] for request in self.requests("send") if request.outcome is Outcome.OK})


def outcome_of(status: int) -> Outcome:
    """The outcome that an HTTP status stands for; 0: no answer."""
    if 200 <= status < 400:
        return Outcome.OK
    return Outcome.REFUSED if 400 <= status < 500 else Outcome.UNKNOWN


def now() -> float:
    return time.monotonic()


def digest(token: str) -> str:
    """Stands for a token in the record."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
