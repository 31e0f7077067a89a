"""Live events: a client that resumes misses nothing, gets nothing twice, and gets what is stored."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.faults.checker.conversations import by_pair, final, pair_of
from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import LEFT, Connection, History, LiveEvent, Message

_MESSAGE = "message.sent"
# By type: the fields of `data` that make an event one event; other types may be repeated or reduced to the latest.
_IDENTITY = {
    _MESSAGE: ("message_id",),
    "friendship.created": ("user_id", "at"),
    "friendship.accepted": ("user_id", "at"),
    "friendship.removed": ("user_id", "at"),
}
_SHOWN = 20


def missed(history: History, _: Bounds) -> Iterator[Finding]:
    """Each client that has followed to the end got every message since its first connection, in order.

    Conversations that were closed in the meantime are left out.
    """
    closed = {pair_of(request) for request in history.requests("unfriend")}
    sent = by_pair(history)
    received: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in history.of(LiveEvent):
        if event.type == _MESSAGE:
            received[event.client, event.data["user_id"]].append(int(event.data["sequence"]))
    for client, connections in _connections(history).items():
        if connections[-1].reason != LEFT:
            continue
        user_id, since, until = connections[0].user_id, connections[0].opened, connections[-1].closed
        for pair in sent:
            if user_id not in pair or pair in closed:
                continue
            (other,) = pair - {user_id}
            sequences = received[client, other]
            expected = {
                int(attempt.answer["sequence"])
                for sending in sent[pair]
                if sending.begun > since
                for attempt in sending.acknowledged
                if attempt.ended < until
            }
            if sequences:
                expected |= set(range(min(sequences), max(sequences) + 1))
            if missing := sorted(expected - set(sequences)):
                yield Finding("live.missed", f"{client} did not get {missing[:_SHOWN]} of {other}")
            if sequences != sorted(sequences):
                yield Finding("live.missed", f"{client} got messages of {other} in another order")


def doubled(history: History, _: Bounds) -> Iterator[Finding]:
    """No client gets an event twice, over all of its connections."""
    counts = Counter(
        (event.client, event.type, tuple(str(event.data.get(field)) for field in _IDENTITY[event.type]))
        for event in history.of(LiveEvent)
        if event.type in _IDENTITY
    )
    for (client, kind, identity), count in counts.items():
        if count > 1:
            yield Finding("live.doubled", f"{client} got {kind} {' '.join(identity)} {count} times")


def not_stored(history: History, _: Bounds) -> Iterator[Finding]:
    """A delivered message is in the conversation of its receiver, as it was delivered."""
    stored = {
        (conversation.reader, conversation.other): set(conversation.messages)
        for conversations in final(history).values()
        for conversation in conversations
    }
    for event in history.of(LiveEvent):
        conversation = stored.get((event.user_id, event.data.get("user_id", "")))
        if event.type != _MESSAGE or conversation is None:
            continue
        data = event.data
        message = Message(data["message_id"], data["sequence"], data["sender_id"], data["text"])
        if message not in conversation:
            text = f"{event.client} got {message}, which is not in the conversation"
            yield Finding("live.not_stored", text, event.received)


def _connections(history: History) -> dict[str, list[Connection]]:
    by_client: dict[str, list[Connection]] = defaultdict(list)
    for connection in history.of(Connection):
        by_client[connection.client].append(connection)
    return by_client
