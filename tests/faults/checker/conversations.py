"""Groups requests by conversation and by message, for the checks of messages, reads and access."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from tests.faults.history import FinalConversation, History, Message, Outcome, Request

# The user ids of the two people.
Pair = frozenset[str]


class Sending(msgspec.Struct):
    """All attempts to send one message."""

    pair: Pair
    sender_id: str
    text: str
    attempts: list[Request]

    @property
    def acknowledged(self) -> list[Request]:
        return [attempt for attempt in self.attempts if attempt.outcome is Outcome.OK]

    @property
    def is_refused(self) -> bool:
        """Whether no attempt can have stored it."""
        return all(attempt.outcome is Outcome.REFUSED for attempt in self.attempts)

    @property
    def begun(self) -> float:
        return min(attempt.started for attempt in self.attempts)

    def __str__(self) -> str:
        return f"'{self.text}' of {self.sender_id}"


def pair_of(request: Request) -> Pair:
    return frozenset((request.user_id, request.arguments["other"]))


def sendings(history: History) -> list[Sending]:
    return history.once(_sendings)


def _sendings(history: History) -> list[Sending]:
    by_key: dict[tuple[str, str, str], Sending] = {}
    for request in history.requests("send"):
        arguments = request.arguments
        key = (request.user_id, arguments["other"], arguments["client_message_id"])
        sending = by_key.setdefault(key, Sending(pair_of(request), request.user_id, arguments["text"], []))
        sending.attempts.append(request)
    return list(by_key.values())


def by_pair(history: History) -> dict[Pair, list[Sending]]:
    return history.once(_by_pair)


def _by_pair(history: History) -> dict[Pair, list[Sending]]:
    pairs: dict[Pair, list[Sending]] = defaultdict(list)
    for sending in sendings(history):
        pairs[sending.pair].append(sending)
    return pairs


def final(history: History) -> dict[Pair, list[FinalConversation]]:
    pairs: dict[Pair, list[FinalConversation]] = defaultdict(list)
    for conversation in history.of(FinalConversation):
        pairs[frozenset((conversation.reader, conversation.other))].append(conversation)
    return pairs


def final_messages(history: History) -> Iterator[tuple[FinalConversation, list[Message]]]:
    """Each conversation at the end, with its messages in order."""
    for conversation in history.of(FinalConversation):
        yield conversation, sorted(conversation.messages, key=lambda message: message.sequence)
