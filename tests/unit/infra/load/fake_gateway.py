"""A gateway with just enough of the contract for the load generator; it fails when a test requests it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httptools
import msgspec

# Status, headers, body; None: the connection is cut before the answer.
Answer = tuple[int, dict[str, str], object] | None


class Request(msgspec.Struct):
    method: str
    path: str
    token: str
    body: dict[str, str]


class GatewayConnection(asyncio.Protocol):
    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._token, self._body = "", "", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._token, self._body = url.decode(), "", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._token = value.decode().removeprefix("Bearer ")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body = json.loads(self._body) if self._body else {}
        answer = self._answer(Request(self._parser.get_method().decode(), self._path, self._token, body))
        if answer is None:
            self._transport.abort()
            return
        status, headers, content = answer
        payload = b"" if content is None else json.dumps(content).encode()
        lines = [
            f"HTTP/1.1 {status} X",
            f"Content-Length: {len(payload)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)


class FakeGateway:
    """Users, sessions, friendships and conversations, as in the REST contract."""

    def __init__(self, mail_dir: Path) -> None:
        self.mail_dir = mail_dir
        self.url = ""
        self.requests: list[Request] = []
        # Returns the answer to send, given the real one; called after the request took effect.
        self.instead: Callable[[Request, Answer], Answer] = lambda _, answer: answer
        self.messages: dict[frozenset[str], list[tuple[str, str]]] = {}
        self.accepted: set[frozenset[str]] = set()
        self._users: dict[str, dict[str, str]] = {}
        self._asked: set[tuple[str, str]] = set()
        self._used: set[tuple[str, str, str]] = set()

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.instead(request, self._route(request))

    def _route(self, request: Request) -> Answer:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["healthz"]:
                return 200, {}, {}
            case "POST", ["v1", "users"]:
                return self._register(request.body)
            case "POST", ["v1", "users", "verify-email"]:
                return self._verify(request.body["token"])
            case "POST", ["v1", "users", "resend-verification"]:
                return 202, {}, None
            case "POST", ["v1", "sessions"]:
                return self._log_in(request.body)
            case "POST", ["v1", "sessions", "refresh"]:
                return self._refresh(request.body["refresh_token"])
            case "PUT", ["v1", "friends", other]:
                return self._add(self._who(request), other)
            case "POST", ["v1", "conversations", other, "messages"]:
                return self._send(self._who(request), other, request.body)
        return 404, {}, {"code": "not_found"}

    def _by(self, field: str, value: str) -> dict[str, str]:
        return next(user for user in self._users.values() if user.get(field) == value)

    def _who(self, request: Request) -> str:
        return self._by("access", request.token)["user_id"]

    def _register(self, body: dict[str, str]) -> Answer:
        if body["email"] in self._users:
            return 409, {}, {"code": "username_taken"}
        token = uuid4().hex
        self._users[body["email"]] = {**body, "user_id": str(uuid4()), "token": token, "verified": ""}
        self.mail_dir.mkdir(exist_ok=True)
        mail = f"From: a@b.example\nTo: {body['email']}\nSubject: Welcome\n\nHello,\n\nToken: {token}\n"
        (self.mail_dir / f"{token}.eml").write_text(mail)
        return 201, {}, {}

    def _verify(self, token: str) -> Answer:
        user = next((user for user in self._users.values() if user["token"] == token), None)
        if user is None:
            return 422, {}, {"code": "invalid_token"}
        user["verified"] = "yes"
        return 204, {}, None

    def _log_in(self, body: dict[str, str]) -> Answer:
        user = next((account for account in self._users.values() if account["username"] == body["login"]), None)
        if user is None or user["password"] != body["password"]:
            return 401, {}, {"code": "invalid_credentials"}
        if not user["verified"]:
            return 403, {}, {"code": "email_not_verified"}
        return 201, {}, self._session(user)

    def _refresh(self, token: str) -> Answer:
        user = next((user for user in self._users.values() if user.get("refresh") == token), None)
        if user is None:
            return 401, {}, {"code": "invalid_refresh_token"}
        return 200, {}, self._session(user)

    def _session(self, user: dict[str, str]) -> dict[str, object]:
        user |= {"access": uuid4().hex, "refresh": uuid4().hex}
        tokens = {"user_id": user["user_id"], "access_token": user["access"], "refresh_token": user["refresh"]}
        return {**tokens, "expires_in": 900}

    def _add(self, one: str, other: str) -> Answer:
        self._asked.add((one, other))
        if (other, one) in self._asked:
            self.accepted.add(frozenset((one, other)))
            return 200, {}, {"user_id": other, "state": "accepted"}
        return 201, {}, {"user_id": other, "state": "requested"}

    def _send(self, sender: str, other: str, body: dict[str, str]) -> Answer:
        pair = frozenset((sender, other))
        if pair not in self.accepted:
            return 403, {}, {"code": "not_friends"}
        message_key = (sender, other, body["client_message_id"])
        if message_key in self._used:
            return 200, {}, {}
        self._used.add(message_key)
        self.messages.setdefault(pair, []).append((sender, body["text"]))
        return 201, {}, {}
