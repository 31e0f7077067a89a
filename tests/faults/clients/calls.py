"""The requests that the clients make, and what is recorded of each; `tests.faults.history` lists the operations."""

from collections.abc import Callable

import msgspec

from tests.faults.history import Json, digest

# Messages that a read gets: the newest ones.
_NEWEST = 20
PAGE = 200


def _nothing(body: Json) -> Json:
    del body
    return {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    operation: str
    method: str
    path: str
    arguments: Json = {}
    body: Json | None = None
    # What is recorded of the answer's body.
    summary: Callable[[Json], Json] = _nothing
    # Of a request without a session: the session that it is about.
    session_id: str = ""


def register(email: str, username: str, password: str) -> Call:
    return Call(
        operation="register",
        method="POST",
        path="/v1/users",
        arguments={"email": email, "username": username},
        body={"email": email, "username": username, "password": password},
        summary=lambda body: {"user_id": body["user_id"]},
    )


def verify(email: str, token: str, password: str) -> Call:
    return Call(
        operation="verify",
        method="POST",
        path="/v1/users/verify-email",
        arguments={"email": email, "token": digest(token)},
        body={"token": token, "password": password},
    )


def log_in(email: str, username: str, password: str) -> Call:
    return Call(
        operation="log_in",
        method="POST",
        path="/v1/sessions",
        arguments={"email": email, "username": username},
        body={"login": username, "password": password},
        summary=lambda body: {
            "user_id": body["user_id"],
            "session_id": body["session_id"],
            "refresh_token": digest(body["refresh_token"]),
        },
    )


def refresh(session_id: str, refresh_token: str) -> Call:
    return Call(
        operation="refresh",
        method="POST",
        path="/v1/sessions/refresh",
        arguments={"refresh_token": digest(refresh_token)},
        body={"refresh_token": refresh_token},
        summary=lambda body: {"refresh_token": digest(body["refresh_token"])},
        session_id=session_id,
    )


def revoke(session_id: str) -> Call:
    return Call(
        operation="revoke",
        method="DELETE",
        path=f"/v1/sessions/{session_id}",
        arguments={"session_id": session_id},
    )


def look() -> Call:
    return Call(operation="look", method="GET", path="/v1/conversations")


def befriend(other: str) -> Call:
    return Call(
        operation="befriend",
        method="PUT",
        path=f"/v1/friends/{other}",
        arguments={"other": other},
        summary=lambda body: {"state": body["state"]},
    )


def unfriend(other: str) -> Call:
    return Call(operation="unfriend", method="DELETE", path=f"/v1/friends/{other}", arguments={"other": other})


def send(other: str, text: str, client_message_id: str) -> Call:
    return Call(
        operation="send",
        method="POST",
        path=f"/v1/conversations/{other}/messages",
        arguments={"other": other, "text": text, "client_message_id": client_message_id},
        body={"text": text, "client_message_id": client_message_id},
        summary=sent,
    )


def sent(body: Json) -> Json:
    return {"message_id": body["message_id"], "sequence": body["sequence"]}


def read(other: str) -> Call:
    return Call(
        operation="read",
        method="GET",
        path=f"/v1/conversations/{other}/messages?limit={_NEWEST}",
        arguments={"other": other},
        summary=lambda body: {"messages": [[item["sequence"], item["message_id"]] for item in body["items"]]},
    )


def page(other: str, after: int) -> Call:
    """A part of the whole conversation, oldest first."""
    return Call(
        operation="page",
        method="GET",
        path=f"/v1/conversations/{other}/messages?limit={PAGE}&after={after}",
        arguments={"other": other, "after": after},
    )
