"""Clients that follow live events, over server-sent events or a WebSocket, and resume after each end."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Mapping

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from tests.faults.clients import calls
from tests.faults.clients.account import Account
from tests.faults.clients.calls import Call
from tests.faults.clients.client import BROKEN, PAUSE, Answer, Backoff
from tests.faults.clients.gateways import Target
from tests.faults.history import LEFT, Connection, Json, LiveEvent, now

# Longer than the time between two heartbeats.
_SILENCE = httpx.Timeout(30.0, read=40.0)
_OPEN_WITHIN, _ANSWER_WITHIN = 15.0, 30.0
# Between two connections.
_LONGEST_PAUSE = 2.0
_OK, _ERRORS, _UNAUTHORIZED = 200, 400, 401
_MESSAGE, _HEARTBEAT = "message.sent", "heartbeat"


class _Refused(Exception):
    """The gateway did not open the connection."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status


class Sequences:
    """The sequences of received messages: how far there is each, and those beyond the first that is missing."""

    def __init__(self) -> None:
        self.all_up_to = 0
        self._beyond: set[int] = set()

    def add(self, sequence: int) -> None:
        self._beyond.add(sequence)
        while self.all_up_to + 1 in self._beyond:
            self.all_up_to += 1
            self._beyond.remove(self.all_up_to)


class Follower:
    """Follows an account's events from where they are when it begins."""

    transport: str

    def __init__(self, account: Account) -> None:
        assert account.session is not None
        self.session = account.session
        self.client = account.client(self.transport)
        # By the other person: the messages received.
        self.received: defaultdict[str, Sequences] = defaultdict(Sequences)
        self._position = self._resumed_from = ""
        self._number = 0
        self._has_all = False

    async def begin(self) -> None:
        """All that happens after the answer will be delivered."""
        answer = await self.client.repeat(calls.look())
        assert answer.is_ok, f"{self.client.name}: {answer.status} {answer.code}"
        self._position = answer.position

    def leave(self) -> None:
        """The client has all that it waited for; its task is cancelled next."""
        self._has_all = True

    async def follow(self) -> None:
        """Follows until it is cancelled."""
        backoff = Backoff(_LONGEST_PAUSE)
        try:
            while True:
                token, begun = self.session.access_token, now()
                if await self._connect() == _UNAUTHORIZED:
                    await self.session.renew(self.client.gateways, token)
                if now() - begun > _LONGEST_PAUSE:
                    backoff.reset()
                await backoff.wait()
        finally:
            if self._has_all:
                self._record_connection("", now(), 0, LEFT)

    async def _connect(self) -> int:
        """Follows over one connection until that ends; returns the status that it was opened with, 0 for none."""
        target, http = self.client.gateways.next()
        self._number += 1
        self._resumed_from = self._position
        opened = now()
        status, reason = 0, "cancelled"
        try:
            await self._follow_connection(target, http)
            status, reason = _OK, "ended"
        except _Refused as refused:
            status, reason = refused.status, str(refused)
        except (*BROKEN, WebSocketException) as error:
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._record_connection(target.url, opened, status, reason)
        return status

    def _record_connection(self, target: str, opened: float, status: int, reason: str) -> None:
        self.client.gateways.recorder.add(
            Connection(
                client=self.client.name,
                user_id=self.session.user_id,
                session_id=self.session.session_id,
                connection=self._number,
                transport=self.transport,
                resumed_from=self._resumed_from,
                target=target,
                opened=opened,
                closed=now(),
                status=status,
                reason=reason,
            )
        )

    async def _follow_connection(self, target: Target, http: httpx.AsyncClient) -> None:
        """Receives until the gateway ends the connection.

        Raises:
            _Refused: the gateway did not open it.
        """
        raise NotImplementedError

    def _receive(self, kind: str, data: Json) -> None:
        self.client.gateways.recorder.add(
            LiveEvent(
                client=self.client.name,
                user_id=self.session.user_id,
                session_id=self.session.session_id,
                connection=self._number,
                id=self._position,
                type=kind,
                data=data,
                received=now(),
            )
        )
        if kind == _MESSAGE:
            self.received[data["user_id"]].add(data["sequence"])

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.session.access_token}"}


class EventsFollower(Follower):
    """Server-sent events, resumed with `Last-Event-ID`."""

    transport = "sse"

    async def _follow_connection(self, target: Target, http: httpx.AsyncClient) -> None:
        headers = {**self._headers(), "Last-Event-ID": self._resumed_from}
        async with http.stream("GET", "/v1/events", headers=headers, timeout=_SILENCE) as response:
            if response.status_code != _OK:
                raise _Refused(response.status_code, (await response.aread()).decode(errors="replace"))
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                self._position = fields.get("id", self._position)
                if "data" in fields:
                    data = msgspec.json.decode(fields["data"], type=Json)
                    self._receive(fields["event"], data)
                fields = {}


class WebSocketFollower(Follower):
    """A WebSocket, resumed with `since`, which also sends messages as commands."""

    transport = "websocket"

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._open: tuple[Target, ClientConnection] | None = None
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        self._numbers = itertools.count(1)

    async def repeat(self, call: Call, command: str) -> Answer:
        """Repeats the command over the connections that there are until it succeeds or is refused permanently."""
        backoff = Backoff()
        while True:
            if self._open is not None:
                target, connection = self._open
                position, started = self.client.position, now()
                answer = await self._ask(connection, call, command, position)
                self.client.record(call, answer, target.url, started, position, self.transport)
                self.client.advance(answer, is_write=True)
                if answer.is_final:
                    return answer
                await backoff.wait()
            else:
                await asyncio.sleep(PAUSE)

    async def _ask(self, connection: ClientConnection, call: Call, command: str, position: str) -> Answer:
        number = str(next(self._numbers))
        self._answers[number] = asyncio.get_running_loop().create_future()
        content = {
            "id": number,
            "command": command,
            "user_id": call.arguments["other"],
            "body": call.body,
            **({"position": position} if position else {}),
        }
        try:
            await connection.send(msgspec.json.encode(content).decode())
            async with asyncio.timeout(_ANSWER_WITHIN):
                return await self._answers[number]
        except (*BROKEN, WebSocketException) as error:
            return Answer(0, type(error).__name__)
        finally:
            self._answers.pop(number, None)

    async def _follow_connection(self, target: Target, http: httpx.AsyncClient) -> None:
        url = f"{target.live_url}?since={self._resumed_from}"
        tls = self.client.gateways.live_tls(target)
        opening = connect(url, additional_headers=self._headers(), ssl=tls, open_timeout=_OPEN_WITHIN)
        try:
            async with opening as connection:
                self._open = (target, connection)
                async for text in connection:
                    self._take(msgspec.json.decode(text, type=Json))
        except InvalidStatus as error:
            raise _Refused(error.response.status_code, error.response.body.decode(errors="replace")) from error
        finally:
            self._open = None
            for waiting in self._answers.values():
                if not waiting.done():
                    waiting.set_result(Answer(0, ConnectionError.__name__))

    def _take(self, content: Json) -> None:
        if "answer" in content:
            waiting = self._answers.get(content["answer"])
            if waiting is not None and not waiting.done():
                body = content.get("body") or {}
                status = content["status"]
                waiting.set_result(
                    Answer(
                        status=status,
                        code="" if status < _ERRORS else str(body.get("code", "")),
                        body=body,
                        retry_after=str(content.get("retry_after", "")),
                        position=content.get("position", ""),
                    )
                )
            return
        self._position = content.get("id", self._position)
        if content["event"] != _HEARTBEAT:
            self._receive(content["event"], content["data"])
