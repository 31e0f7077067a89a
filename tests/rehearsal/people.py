"""People who use the cluster from outside, through nginx, and record what was acknowledged and what was delivered."""

import asyncio
import itertools
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
from h2.exceptions import ProtocolError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.rehearsal.mail_sink import MailSink

# A JSON object as it came over the wire.
Json = dict[str, Any]
PASSWORD = "a long enough passphrase"
# Statuses after which the same request may succeed.
_PASSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# `ProtocolError`: the library's client may write to a connection that the server has just ended.
_BROKEN = (httpx.HTTPError, ProtocolError, OSError, TimeoutError, WebSocketException)
_PAUSE = 0.1


class Message(msgspec.Struct, frozen=True):
    message_id: str
    sequence: int
    sender_id: str
    text: str


class Failures:
    """Requests that failed and were repeated, by what they were answered with."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

        # Why live streams ended.
        self.ends: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        self.counts[reason] += 1

    def add_end(self, transport: str, error: Exception) -> None:
        self.ends[f"{transport}: {type(error).__name__} {error}"] += 1


class Site:
    """The address that clients know, with its certificate's authority."""

    def __init__(self, host: str, port: int, authority: Path) -> None:
        self.url = f"https://{host}:{port}"
        self.live_url = f"wss://{host}:{port}/v1/ws"
        self._authority = authority

    def tls(self) -> ssl.SSLContext:
        """A context of its own for each use, since each client sets the protocols in it."""
        return ssl.create_default_context(cafile=str(self._authority))

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=self.tls(), http2=True, timeout=httpx.Timeout(30.0))


class Person:
    """A user with an account, a session, and live streams over both transports."""

    def __init__(self, site: Site, name: str, mail: MailSink, failures: Failures) -> None:
        self.site = site
        self.name = name
        self.address = f"{name}@example.test"
        self.failures = failures
        self.user_id = ""
        # By transport: the messages that it delivered, in their order.
        self.delivered: dict[str, list[Message]] = {"sse": [], "websocket": []}
        self.acknowledged: list[Message] = []
        self.protocols: Counter[str] = Counter()
        self._mail = mail
        self._http = site.client()
        # A connection of its own, as of another device.
        self._live_http = site.client()
        self._session: Json = {}
        self._renewal = asyncio.Lock()
        self._follows = True
        self._positions: dict[str, str] = {}
        self._connection: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future[Json]] = {}
        self._numbers = itertools.count(1)

    async def close(self) -> None:
        await self._http.aclose()
        await self._live_http.aclose()

    async def register(self) -> None:
        account = {"email": self.address, "username": self.name, "password": PASSWORD}
        self.user_id = (await self.ask("POST", "/v1/users", account))["user_id"]
        await self.ask("POST", "/v1/users/verify-email", {"token": await self._mail.token(self.address)})
        self._session = await self.ask("POST", "/v1/sessions", {"login": self.name, "password": PASSWORD})

    async def befriend(self, other: "Person") -> None:
        """Asks; the other accepts. A new account is known to contact soon after it was verified."""
        for one, another in ((self, other), (other, self)):
            await one.ask("PUT", f"/v1/friends/{another.user_id}", also_again=404)

    async def begin_to_follow(self) -> None:
        """The live streams will begin with what happens from here on."""
        response = await self._request("GET", "/v1/conversations", None)
        self._positions = dict.fromkeys(self.delivered, response.headers["Vestnik-Position"])

    def leave(self) -> None:
        """Ends following once its tasks are cancelled: a cancellation alone may come out as an error of the library."""
        self._follows = False

    async def send(self, other: "Person", text: str, *, live: bool = False) -> None:
        """Sends until it is acknowledged; `live`: over the WebSocket instead of REST."""
        body = {"text": text, "client_message_id": f"{self.name}-{next(self._numbers)}"}
        if live:
            answer = await self._command("send", other.user_id, body)
        else:
            answer = await self.ask("POST", f"/v1/conversations/{other.user_id}/messages", body)
        self.acknowledged.append(msgspec.convert(answer, Message))

    async def history(self, other: "Person") -> list[Message]:
        """The whole conversation, oldest first."""
        pages: list[list[Message]] = []
        cursor = ""
        while True:
            path = f"/v1/conversations/{other.user_id}/messages?limit=200&cursor={cursor}"
            page = await self.ask("GET", path)
            pages.append(msgspec.convert(page["items"], list[Message]))
            cursor = page["next"]
            if not cursor:
                return sorted(itertools.chain.from_iterable(pages), key=lambda message: message.sequence)

    async def ask(self, method: str, path: str, body: Json | None = None, *, also_again: int = 0) -> Json:
        """Repeats the request until it succeeds.

        Raises:
            AssertionError: the answer is an error that would be the same again.
        """
        while True:
            try:
                response = await self._request(method, path, body)
            except _BROKEN as error:
                self.failures.add(f"{method} {type(error).__name__}")
                await asyncio.sleep(_PAUSE)
                continue
            if response.status_code < 400:
                return response.json() if response.content else {}
            if response.status_code == 401 and self._session:
                await self._renew()
                continue
            if response.status_code != also_again:
                self.failures.add(f"{method} {response.status_code} {_code(response.content)}")
                assert response.status_code in _PASSES, f"{method} {path}: {response.status_code} {response.text}"
            await asyncio.sleep(_PAUSE)

    async def follow_by_events(self) -> None:
        """Follows with server-sent events until `leave`, and resumes after each end."""
        while self._follows:
            try:
                async for message in self._events():
                    self.delivered["sse"].append(message)
            except _BROKEN as error:
                self.failures.add_end("SSE", error)
            await asyncio.sleep(_PAUSE)

    async def follow_by_websocket(self) -> None:
        """Follows over a WebSocket until `leave`, and resumes after each end."""
        while self._follows:
            try:
                await self._follow_connection()
            except _BROKEN as error:
                self.failures.add_end("WebSocket", error)
            self._connection = None
            for waiting in self._answers.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError("the WebSocket ended"))
            self._answers.clear()
            await self._renew_if_old()
            await asyncio.sleep(_PAUSE)

    async def _request(self, method: str, path: str, body: Json | None) -> httpx.Response:
        response = await self._http.request(method, path, json=body, headers=self._headers())
        self.protocols[response.http_version] += 1
        return response

    async def _events(self) -> AsyncIterator[Message]:
        headers = {**self._headers(), "Last-Event-ID": self._positions["sse"]}
        async with self._live_http.stream("GET", "/v1/events", headers=headers) as response:
            if response.status_code != 200:
                await self._renew_if_old()
                return
            event: dict[str, str] = {}
            async for line in response.aiter_lines():
                if line:
                    field, _, value = line.partition(":")
                    event[field] = value.removeprefix(" ")
                    continue
                if event.get("event") == "message.sent":
                    yield msgspec.json.decode(event["data"], type=Message)
                self._positions["sse"] = event.get("id", self._positions["sse"])
                event = {}

    async def _follow_connection(self) -> None:
        url = f"{self.site.live_url}?since={self._positions['websocket']}"
        async with connect(url, additional_headers=self._headers(), ssl=self.site.tls(), open_timeout=15) as connection:
            self._connection = connection
            async for text in connection:
                content: Json = msgspec.json.decode(text)
                if "answer" in content:
                    if waiting := self._answers.pop(content["answer"], None):
                        waiting.set_result(content)
                    continue
                if content["event"] == "message.sent":
                    self.delivered["websocket"].append(msgspec.convert(content["data"], Message))
                self._positions["websocket"] = content.get("id", self._positions["websocket"])

    async def _command(self, command: str, user_id: str, body: Json) -> Json:
        while True:
            connection = self._connection
            if connection is None:
                await asyncio.sleep(_PAUSE)
                continue
            number = f"{self.name}-{next(self._numbers)}"
            waiting = self._answers[number] = asyncio.get_running_loop().create_future()
            content = {"id": number, "command": command, "user_id": user_id, "body": body}
            try:
                await connection.send(msgspec.json.encode(content).decode())
                async with asyncio.timeout(30.0):
                    answer: Json = await waiting
            except _BROKEN as error:
                self._answers.pop(number, None)
                if waiting.done() and not waiting.cancelled():
                    waiting.exception()  # marks it as retrieved
                # The end of a live connection is no failed request: a gateway that stops ends it.
                if not isinstance(error, ConnectionClosed | ConnectionError):
                    self.failures.add(f"WebSocket {type(error).__name__}")
                await asyncio.sleep(_PAUSE)
                continue
            if answer["status"] < 400:
                result: Json = answer["body"]
                return result
            self.failures.add(f"WebSocket {answer['status']} {answer['body'].get('code', '')}")
            assert answer["status"] in _PASSES, f"{command}: {answer}"
            await asyncio.sleep(_PAUSE)

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._session['access_token']}"} if self._session else {}

    async def _renew_if_old(self) -> None:
        """A live stream was refused: its token may have expired."""
        with suppress(*_BROKEN):
            if (await self._request("GET", "/v1/users/me", None)).status_code == 401:
                await self._renew()

    async def _renew(self) -> None:
        spent = self._session["access_token"]
        async with self._renewal:
            if self._session["access_token"] == spent:
                response = await self._http.post(
                    "/v1/sessions/refresh", json={"refresh_token": self._session["refresh_token"]}
                )
                if response.status_code < 400:
                    self._session = response.json()


def _code(content: bytes) -> str:
    """The code of the answer's problem document; empty if nginx answered."""
    try:
        problem: Json = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return ""
    return f"{problem.get('code', '')}: {problem.get('detail', '')}"
