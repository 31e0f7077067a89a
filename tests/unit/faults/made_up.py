"""Histories made up by hand: builders of records, with two friends and a conversation in which nothing is wrong."""

from tests.faults.checker import check
from tests.faults.checker.finding import Bounds
from tests.faults.history import (
    LEFT,
    Connection,
    FinalConversation,
    History,
    Json,
    LiveEvent,
    Message,
    Record,
    Request,
    outcome_of,
)

ANNA, BORIS = "anna", "boris"
PEER = {ANNA: BORIS, BORIS: ANNA}


def request(
    operation: str,
    arguments: Json,
    at: float,
    status: int = 200,
    answer: Json | None = None,
    *,
    user: str = "",
    lasts: float = 0.1,
    code: str = "",
    session: str = "",
    position: str = "",
) -> Request:
    return Request(
        client=user or "visitor",
        user_id=user,
        session_id=session,
        operation=operation,
        arguments=arguments,
        started=at,
        ended=at + lasts,
        outcome=outcome_of(status),
        status=status,
        code=code,
        answer=answer or {},
        sent_position=position,
        retry_after="1" if status in {503, 504} else "",
    )


def send(number: int, at: float, status: int = 201, *, user: str = ANNA, text: str = "", code: str = "") -> Request:
    """Message `number` of the conversation; its id and its text follow from the number."""
    arguments = {"other": PEER[user], "text": text or f"text {number}", "client_message_id": f"c{number}"}
    answer = {"message_id": f"m{number}", "sequence": number} if status < 300 else None
    return request("send", arguments, at, status, answer, user=user, code=code)


def read(
    newest: int, at: float, status: int = 200, *, user: str = ANNA, code: str = "", position: str = "p"
) -> Request:
    messages = [[number, f"m{number}"] for number in range(newest, 0, -1)]
    answer = {"messages": messages} if status == 200 else None
    return request("read", {"other": PEER[user]}, at, status, answer, user=user, code=code, position=position)


def befriend(user: str, at: float, state: str = "accepted", status: int = 200) -> Request:
    answer = {"state": state} if status < 300 else None
    return request("befriend", {"other": PEER[user]}, at, status, answer, user=user)


def unfriend(user: str, at: float, status: int = 204) -> Request:
    return request("unfriend", {"other": PEER[user]}, at, status, user=user)


def stored(number: int, user: str = ANNA) -> Message:
    return Message(f"m{number}", number, user, f"text {number}")


def conversation(*messages: Message) -> list[Record]:
    """The final conversation, as both people read it."""
    return [FinalConversation(reader=one, other=other, messages=list(messages)) for one, other in PEER.items()]


def delivered(message: Message, at: float, *, user: str = BORIS, session: str = "", connection: int = 1) -> LiveEvent:
    data = {
        "message_id": message.message_id,
        "sequence": message.sequence,
        "sender_id": message.sender_id,
        "text": message.text,
        "user_id": PEER[user],
    }
    return LiveEvent(
        client=f"{user} sse",
        user_id=user,
        session_id=session,
        connection=connection,
        id=f"p{message.sequence}",
        type="message.sent",
        data=data,
        received=at,
    )


def followed(user: str = BORIS, reason: str = LEFT, status: int = 200) -> Connection:
    """A connection that was open all the time."""
    return Connection(
        client=f"{user} sse",
        user_id=user,
        connection=1,
        transport="sse",
        resumed_from="p0",
        opened=0.0,
        closed=1000.0,
        status=status,
        reason=reason,
    )


def findings(*records: Record, bounds: Bounds | None = None) -> list[str]:
    """The names of the checks that have found something."""
    return sorted({finding.check for finding in check(History(records), bounds)})
