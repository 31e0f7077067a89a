"""The WebSocket at `/v1/ws`: events to the client as in `GET /v1/events`, commands from it as over REST.

A browser cannot send an `Authorization` header with a WebSocket, and a URL ends up in logs, so the token comes as a
subprotocol. Pages of other origins are refused unless the settings allow them, although they would need a stolen
token. A command runs through its REST route, with the same limits, checks and errors.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

from contracts.errors import (
    Forbidden,
    Invalid,
    MalformedJson,
    NotFound,
    VestnikError,
    Violation,
)
from infra.rpc.call_context import Call, enter
from services.gateway.context import GatewayContext
from services.gateway.http import problems, query_params, request_body
from services.gateway.http.endpoint_route import LIMITS, POSITION, AnyEndpointRoute, Input, encoded
from services.gateway.http.request_headers import RequestHeaders, parse_request_id, request_headers
from services.gateway.http.response import REQUEST_ID
from services.gateway.http.scope_extensions import TEXT, abort
from services.gateway.limits import policies, rate_limiter
from services.gateway.limits.rate_limiter import LimitState
from services.gateway.live.client_pace import PATIENCE, Pace
from services.gateway.live.client_queue import CloseReason
from services.gateway.live.delivery import SubscriptionRequest
from services.gateway.live.subscription import ClientEvent, Subscription
from services.gateway.observability import request_spans
from services.gateway.routes.live.query import EventsQuery
from services.gateway.security import origins
from services.gateway.security.access_tokens import Principal
from services.gateway.security.client_address import client_address, counted_as
from services.gateway.security.origins import AllowedOrigins

log = logging.getLogger(__name__)
PATH = "/v1/ws"
SUBPROTOCOL = "vestnik.v1"
_BEARER = "bearer."
_POSITION = POSITION.encode()
# Concurrent commands per connection; the next is read when one is done.
MOST_AT_WORK = 32
# Close codes (RFC 6455, section 7.4; those from 4000 on are ours).
NOT_TEXT, SESSION_ENDED = 1003, 4401
_CLOSE = {CloseReason.STOPPING: 1001, CloseReason.FAILED: 1011, CloseReason.SESSION: SESSION_ENDED}
_TRY_AGAIN = 1013


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    command: str
    # The other person, if the route has one in its path.
    user_id: Annotated[str, Meta(max_length=64)] = ""
    # The message, if the route has one in its path.
    message_id: Annotated[str, Meta(max_length=64)] = ""
    # The body of the REST route.
    body: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
    # Value of the `Vestnik-Position` header.
    position: Annotated[str, Meta(max_length=512)] = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    # The command's id; null if it could not be read.
    answer: str | None
    status: int
    # Value of the `Vestnik-Position` header.
    position: str = ""
    # Seconds to wait before a retry.
    retry_after: int | None = None
    body: msgspec.Raw | problems.Problem | None = None


class _Named(msgspec.Struct):
    id: str | None = None


_DECODER = msgspec.json.Decoder(Command)
# Field names of a command, in quotation marks.
_NAMES = tuple(msgspec.json.encode(name) for name in Command.__struct_fields__)
_NAMED = msgspec.json.Decoder(_Named)
_ENCODER = msgspec.json.Encoder()
_NO_HEADERS = RequestHeaders([])


class WebSockets:
    """Serves connections to `/v1/ws`."""

    def __init__(self, routes: Iterable[AnyEndpointRoute], context: GatewayContext) -> None:
        """`routes`: those with a command's name are available as commands."""
        self._commands = {route.declaration.command: route for route in routes if route.declaration.command}
        self._context = context
        self._allowed_origins = AllowedOrigins.parse(context.settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection from the handshake to the close.

        Raises:
            VestnikError: the handshake was refused, or failed.
        """
        if (await receive())["type"] != "websocket.connect":
            return
        enter(Call(request_id=scope["state"][REQUEST_ID]))
        limit_states: list[LimitState] = []
        scope["state"][LIMITS] = limit_states
        try:
            beginning, address = await self._check(scope, request_headers(scope), limit_states)
        except VestnikError:
            raise
        except Exception as error:
            # The edge: unexpected errors are logged here and never shown to clients.
            log.exception("the handshake of a WebSocket failed")
            raise VestnikError from error
        more = {**rate_limiter.headers(limit_states), "x-request-id": scope["state"][REQUEST_ID]}
        accept: dict[str, object] = {"type": "websocket.accept", "headers": _raw(more)}
        if SUBPROTOCOL in scope["subprotocols"]:
            accept["subprotocol"] = SUBPROTOCOL
        try:
            await send(accept)
            async with self._context.live.subscribe(beginning, "websocket") as feed:
                connection = _Connection(self, scope, receive, send, beginning.caller, address)
                await connection.run(feed)
        except (ClientDisconnected, OSError):
            return

    async def _check(
        self, scope: Scope, headers: Headers, limit_states: list[LimitState]
    ) -> tuple[SubscriptionRequest, str]:
        """Authenticates and rate-limits the handshake; appends the states of its limits to `limit_states`."""
        if scope["path"] != PATH:
            # Starlette's pattern also matches the path with a line break behind it.
            raise NotFound
        self._check_origin(headers)
        context, peer = self._context, scope["client"][0] if scope["client"] else ""
        address = client_address(peer, headers, trusted_hops=context.settings.trusted_hops)
        if context.limiter is not None:
            limit_states.append(context.limiter.consume(policies.LIVE_ADDRESS, counted_as(address)))
            rate_limiter.check(limit_states)
        caller = context.tokens.authenticate(_authorization(headers, scope["subprotocols"]))
        if context.limiter is not None:
            limit_states.append(context.limiter.consume(policies.LIVE, caller.user_id))
            rate_limiter.check(limit_states)
        query = query_params.decode(scope["query_string"], EventsQuery)
        seen = context.positions.of(caller.user_id)
        return await context.live.prepare(caller, query.since, seen, notified=query.notifications), address

    def _check_origin(self, headers: Headers) -> None:
        """Refuses an origin that is neither ours nor allowed by CORS; only browsers send one."""
        origin = headers.get("origin")
        if origin is None or origin in self._allowed_origins:
            return
        if not origins.is_own(origin, headers, self._context.settings.public_url):
            raise Forbidden("Pages of another origin are not served.")

    def count(self, caller: Principal) -> None:
        """Counts one message of the user, before it is parsed.

        Raises:
            RateLimited: the user has sent too many messages.
        """
        if self._context.limiter is not None:
            rate_limiter.check([self._context.limiter.consume(policies.COMMAND, caller.user_id)])

    async def perform(self, command: Command, caller: Principal, address: str) -> Answer:
        """Runs a command through its REST route.

        Raises:
            VestnikError: the command is invalid or was refused.
        """
        # Events last as long as the session; commands need a valid access token.
        self._context.tokens.recheck(caller)
        route = self._commands.get(command.command)
        if route is None:
            raise Invalid(violations=(Violation("/command", f"One of {', '.join(sorted(self._commands))}"),))
        own_id = parse_request_id(None)
        span, traceparent = request_spans.begin_command()
        enter(Call(request_id=own_id, traceparent=traceparent))
        request_input = Input(
            request_id=own_id,
            traceparent=traceparent,
            signed_in=caller,
            address=address,
            headers=(
                RequestHeaders([(_POSITION, command.position.encode("latin-1", "replace"))])
                if command.position
                else _NO_HEADERS
            ),
            path={"user_id": command.user_id, "message_id": command.message_id},
            query=b"",
        )
        limit_states: list[LimitState] = []
        began, endpoint = time.perf_counter(), route.declaration
        status = VestnikError.status
        try:
            with self._context.load:
                self._context.load.check()
                reply = await route.command(request_input, bytes(command.body), limit_states)
            status = reply.status
        except VestnikError as error:
            status = error.status
            raise
        finally:
            self._context.metrics.answered(endpoint.method, endpoint.path, status, time.perf_counter() - began)
            if span is not None:
                request_spans.end_command(span, endpoint.command, endpoint.method, endpoint.path, status)
        body, headers = encoded(reply)
        return Answer(command.id, reply.status, headers.get(POSITION, ""), None, msgspec.Raw(body) if body else None)


class _Connection:
    """One client's connection."""

    def __init__(
        self, sockets: WebSockets, scope: Scope, receive: Receive, send: Send, caller: Principal, address: str
    ) -> None:
        self._sockets = sockets
        self._scope = scope
        self._receive = receive
        self._send = send
        self._caller = caller
        self._address = address
        self._pace = Pace()
        self._slots = asyncio.Semaphore(MOST_AT_WORK)
        self._at_work: set[asyncio.Task[None]] = set()
        # Writes a message if the socket is writable; returns whether it did.
        self._write: Callable[[bytes], bool] = scope.get(TEXT, _never)
        # Close code, if the client caused the end.
        self._code = 0

    async def run(self, feed: Subscription) -> None:
        receiving = asyncio.create_task(self._listen(feed))
        try:
            await self._deliver(feed)
            await self._close(feed)
        except TimeoutError:
            feed.give_up(CloseReason.SLOW)
            abort(self._scope)
        except ClientDisconnected:
            feed.give_up(CloseReason.DISCONNECTED)
        except Exception:
            # The edge, as in `__call__`.
            log.exception("a WebSocket failed")
            feed.give_up(CloseReason.FAILED)
            await self._close(feed)
        finally:
            tasks = [receiving, *self._at_work]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, feed: Subscription) -> None:
        await self._pass_on(_heartbeat(feed))
        feed.try_write = lambda item: self._write(_event(item))
        while feed.end is None:
            items = await feed.next()
            if feed.end is not None:
                return
            for text in map(_event, items) if items else (_heartbeat(feed),):
                await self._pass_on(text)

    async def _close(self, feed: Subscription) -> None:
        if feed.end is CloseReason.DISCONNECTED and not self._code:
            return
        # Accepted commands are still answered.
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=PATIENCE)
        code = self._code or _CLOSE.get(feed.end or CloseReason.DISCONNECTED, _TRY_AGAIN)
        async with asyncio.timeout(PATIENCE):
            reason = "not text" if code == NOT_TEXT else (feed.end or CloseReason.DISCONNECTED).value
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _listen(self, feed: Subscription) -> None:
        while True:
            message = await self._receive()
            text = message.get("text")
            if message["type"] == "websocket.disconnect" or text is None:
                self._code = 0 if message["type"] == "websocket.disconnect" else NOT_TEXT
                feed.give_up(CloseReason.DISCONNECTED)
                return
            await self._slots.acquire()
            task = asyncio.create_task(self._answer(text, feed))
            self._at_work.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        self._slots.release()

    async def _answer(self, text: str, feed: Subscription) -> None:
        command_id: str | None = None
        try:
            self._sockets.count(self._caller)
            command = request_body.decode(text.encode(), _DECODER, _NAMES)
            command_id = command.id
            answer = await self._sockets.perform(command, self._caller, self._address)
        except VestnikError as error:
            answer = _problem(error, command_id or _id_of(text))
        except Exception:
            # The edge, as in `__call__`.
            log.exception("a command failed")
            answer = _problem(VestnikError(), command_id)
        try:
            await self._pass_on(_ENCODER.encode(answer))
        except TimeoutError:
            feed.give_up(CloseReason.SLOW)
            abort(self._scope)
        except ClientDisconnected:
            feed.give_up(CloseReason.DISCONNECTED)

    async def _pass_on(self, text: bytes) -> None:
        if self._write(text):
            self._pace.took(len(text))
        else:
            await self._pace.wait(self._send({"type": "websocket.send", "text": text.decode()}), len(text))


def _authorization(headers: Headers, subprotocols: list[str]) -> str | None:
    token = next((protocol.removeprefix(_BEARER) for protocol in subprotocols if protocol.startswith(_BEARER)), None)
    return headers.get("authorization") or (f"Bearer {token}" if token else None)


def _event(item: ClientEvent) -> bytes:
    position = b'"id":"%b",' % item.id.encode() if item.id else b""
    return b'{"event":"%b",%b"data":%b}' % (item.type.encode(), position, item.data)


def _heartbeat(feed: Subscription) -> bytes:
    return b'{"event":"heartbeat","id":"%b","data":null}' % feed.id.encode()


def _never(_: bytes) -> bool:
    return False


def _problem(error: VestnikError, command_id: str | None) -> Answer:
    retry_after = problems.headers(error).get("retry-after")
    return Answer(
        command_id, error.status, "", int(retry_after) if retry_after else None, problems.problem(error, PATH)
    )


def _id_of(text: str) -> str | None:
    """The id of a command that is invalid otherwise."""
    try:
        return _NAMED.decode(text).id
    except (MalformedJson, msgspec.DecodeError, RecursionError):
        return _id_beside_halves(text)


def _id_beside_halves(text: str) -> str | None:
    """The id of a command with half a surrogate pair, such as from a text cut within an emoji.

    The standard library parses such JSON, unlike msgspec; the client awaits an answer.
    """
    try:
        command = json.loads(text)
        own = command.get("id") if isinstance(command, dict) else None
        return own if isinstance(own, str) and own.encode() else None
    except (ValueError, RecursionError):
        return None


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
