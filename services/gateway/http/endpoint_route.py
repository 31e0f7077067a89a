"""The Starlette route of an endpoint: limits, authentication and decoding, then the handler and its response."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from contracts.deadlines import REQUEST
from contracts.errors import (
    DeadlineExceeded,
    Invalid,
    NoQuorum,
    OutOfSpace,
    Unauthenticated,
    Unavailable,
    VestnikError,
    Violation,
)
from contracts.positions import Position
from contracts.subjects import AUTH
from infra.rpc.call_context import Call, enter
from services.gateway.context import GatewayContext
from services.gateway.http import problems, query_params, request_body
from services.gateway.http.endpoint import AppliedLimit, Endpoint, Request, Response
from services.gateway.http.request_headers import correlation_id, forget_headers, request_headers
from services.gateway.http.response import REQUEST_ID, WholeResponse
from services.gateway.http.scope_extensions import whole_body
from services.gateway.http.streaming_response import StreamingReply
from services.gateway.limits import policies, rate_limiter
from services.gateway.limits.rate_limiter import LimitState, Subject
from services.gateway.observability.request_spans import TRACEPARENT, end_span
from services.gateway.security.access_tokens import Principal
from services.gateway.security.client_address import client_address, counted_as

B = TypeVar("B")
Q = TypeVar("Q")

POSITION = "vestnik-position"
# Key of the request's state: the limits that it was counted against.
LIMITS = "limits"
# The event store's own refusals: nothing was stored, and a client cannot provoke them. A plain `Unavailable` may hide a
# lost response, and concurrent requests can cause it, as they can `Overloaded`.
_REFUSED_BY_STORE = (NoQuorum, OutOfSpace)
log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder()
_USUAL = {**problems.NOTHING_TO_RUN, "cache-control": "no-store"}
# A position that every read model has reached: for writes that appended nothing a client could read.
START = Position.at(AUTH, 0)


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Input of a request or command; only the token has been checked."""

    request_id: str
    # The parent of the spans of what the request causes.
    traceparent: str | None
    signed_in: Principal | None
    # Of the client, as far as known.
    address: str
    headers: Headers
    path: Mapping[str, str]
    # The raw query string.
    query: bytes


class EndpointRoute(Route, Generic[Q, B]):
    """Serves one endpoint over HTTP, and as a command of the WebSocket."""

    def __init__(self, endpoint: Endpoint[Q, B], context: GatewayContext) -> None:
        super().__init__(endpoint.path, endpoint.handler, methods=[endpoint.method])
        # Replaces the adapter that Starlette makes for handlers that take its own `Request`.
        self.app = self._serve
        self.declaration = endpoint
        self._context = context
        self._decoder = msgspec.json.Decoder(endpoint.body)
        self._names = tuple(msgspec.json.encode(name) for name in query_params.names(endpoint.body))
        self._queried = bool(query_params.names(endpoint.query))
        # The last list's own position, the stream heads before it, and the merged position that was returned.
        self._last_list_position = ("", Position(), Position())
        limits = endpoint.limits if context.limiter is not None else ()
        self._of_address = tuple(applied for applied in limits if applied.limit.subject is Subject.ADDRESS)
        self._of_account = tuple(applied for applied in limits if applied.limit.subject is Subject.ACCOUNT)
        quota = context.settings.daily_bytes if limits and endpoint.takes_body and endpoint.writes else 0
        self._bytes = policies.daily_bytes(quota) if quota else None
        self._of_contents = tuple(
            applied for applied in limits if applied.key is not None or applied.key_of_headers is not None
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request.

        Raises:
            VestnikError: the request is refused, or fails.
            ClientDisconnect: the client disconnected before its request had arrived.
        """
        began, limit_states = time.perf_counter(), list[LimitState]()
        scope["state"][LIMITS] = limit_states
        reply = await self._reply(scope, receive, limit_states)
        limits = rate_limiter.headers(limit_states)
        if reply.stream is None:
            try:
                body, headers = encoded(reply)
                response = WholeResponse(body, reply.status, {**_USUAL, **headers, **limits}, reply.cookies)
                await response(scope, receive, send)
            except Exception as error:
                self._log_unexpected(scope)
                raise VestnikError from error
            return
        # Recorded before the stream is sent: its duration is not a response time.
        self._context.metrics.answered(scope["method"], self.path, reply.status, time.perf_counter() - began)
        end_span(scope, self.path, reply.status)
        streaming = StreamingReply(reply.stream, {**problems.NOTHING_TO_RUN, **reply.headers, **limits})
        # A stream lasts, and needs nothing of its request.
        del reply, limit_states, limits
        forget_headers(scope)
        await streaming(scope, receive, send)

    async def _reply(self, scope: Scope, receive: Receive, limit_states: list[LimitState]) -> Response:
        try:
            with self._context.load:
                self._context.load.check()
                enter(Call(request_id=scope["state"][REQUEST_ID], traceparent=scope["state"][TRACEPARENT]))
                request_input = self._input(scope, limit_states)
                return await self.run(
                    request_input, lambda: self._body(scope, receive, request_input, limit_states), limit_states
                )
        except (VestnikError, ClientDisconnect):
            raise
        except asyncio.CancelledError as error:
            # The process is stopping and its drain time is over. Whether the request took effect is unknown.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            raise DeadlineExceeded from error
        except Exception as error:
            self._log_unexpected(scope)
            raise VestnikError from error

    def _log_unexpected(self, scope: Scope) -> None:
        """Logs the error being handled at the edge; unexpected errors are never shown to clients."""
        log.exception("%s %s failed", scope["method"], self.path)

    def _input(self, scope: Scope, limit_states: list[LimitState]) -> Input:
        headers, client = request_headers(scope), scope.get("client")
        address = client_address(client[0] if client else "", headers, trusted_hops=self._context.settings.trusted_hops)
        # Before the token: verifying one costs more than everything else.
        self._count_address(address, limit_states)
        return Input(
            request_id=scope["state"][REQUEST_ID],
            traceparent=scope["state"][TRACEPARENT],
            signed_in=self._authenticate(headers.get("authorization")),
            address=address,
            headers=headers,
            path=scope["path_params"],
            query=scope["query_string"],
        )

    async def command(self, request_input: Input, body: bytes, limit_states: list[LimitState]) -> Response:
        """Serves a command that came in a message instead of a request; otherwise like a request."""

        async def decoded() -> B:
            request_body.check_size(body)
            self._count_bytes(body, request_input.signed_in, limit_states)
            return (
                request_body.decode(body, self._decoder, self._names)
                if self.declaration.takes_body
                else self.declaration.body()
            )

        self._count_address(request_input.address, limit_states)
        return await self.run(request_input, decoded, limit_states)

    async def run(
        self, request_input: Input, read_body: Callable[[], Awaitable[B]], limit_states: list[LimitState]
    ) -> Response:
        """Counts, checks and handles every request and command, after its address was counted."""
        endpoint, signed_in, address = self.declaration, request_input.signed_in, request_input.address
        if signed_in is not None and self._of_account:
            for counted in self._of_account:
                self._count(limit_states, counted, signed_in.user_id)
            rate_limiter.check(limit_states)
        position = self._required_position(request_input.headers.get(POSITION), signed_in)
        query = query_params.decode(request_input.query, endpoint.query) if self._queried else endpoint.query()
        body = await read_body()
        contents = self._contents(body, request_input.headers) if self._of_contents else ()
        if self._of_contents:
            for counted, key in contents:
                self._count(limit_states, counted, key)
            rate_limiter.check(limit_states)
        call = Call(
            request_id=request_input.request_id,
            correlation_id=correlation_id(request_input.headers.get("x-request-id"), request_input.request_id),
            traceparent=request_input.traceparent,
            position=position,
            actor=signed_in.user_id if signed_in else None,
            caller="gateway",
            deadline=time.monotonic() + REQUEST,
        )
        enter(call)
        incoming = Request(
            context=self._context,
            call=call,
            query=query,
            body=body,
            path=request_input.path,
            headers=request_input.headers,
            address=address,
            signed_in=signed_in,
            limit_states=limit_states,
        )
        before = START if endpoint.writes else self._context.live.positions()
        try:
            reply = await endpoint.handler(incoming)
        except Invalid as error:
            raise self._with_query_paths(error) from error
        except _REFUSED_BY_STORE:
            self._refund(contents)
            raise
        return self._add_position_header(reply, call, before)

    def _count_address(self, address: str, limit_states: list[LimitState]) -> None:
        for counted in self._of_address:
            self._count(limit_states, counted, counted_as(address))
        rate_limiter.check(limit_states)

    def _authenticate(self, authorization: str | None) -> Principal | None:
        try:
            return self._context.tokens.authenticate(authorization)
        except (Unauthenticated, Unavailable):
            # On a public route a token is needed only to read one's own writes.
            if self.declaration.public:
                return None
            raise

    def _required_position(self, header: str | None, signed_in: Principal | None) -> Position:
        """The position that the read must have reached.

        Raises:
            Invalid: the header is not a position of this system.
            HistoryChanged: it is from before a loss that was accepted.
        """
        try:
            position = self._context.sealed.open(header or "")
        except Invalid as error:
            raise Invalid(violations=(Violation("/header/Vestnik-Position", "Not a position"),)) from error
        return position.merge(self._context.positions.required_for(signed_in.user_id)) if signed_in else position

    async def _body(self, scope: Scope, receive: Receive, request_input: Input, limit_states: list[LimitState]) -> B:
        request_body.check_length(request_input.headers.get("content-length"))
        if not self.declaration.takes_body:
            return self.declaration.body()
        body = whole_body(scope)
        if body is None:
            body = await request_body.read(receive)
        request_body.check_size(body)
        self._count_bytes(body, request_input.signed_in, limit_states)
        request_body.check_media_type(request_input.headers.get("content-type"), self.declaration.media_types)
        return request_body.decode(body, self._decoder, self._names)

    def _count_bytes(self, body: bytes, signed_in: Principal | None, limit_states: list[LimitState]) -> None:
        if self._bytes is not None and signed_in is not None:
            assert self._context.limiter is not None
            limit_states.append(self._context.limiter.consume(self._bytes, signed_in.user_id, len(body)))
            rate_limiter.check(limit_states)

    def _count(self, limit_states: list[LimitState], counted: AppliedLimit[B], key: str) -> None:
        if self._context.limiter is not None:
            limit_states.append(self._context.limiter.consume(counted.limit, key))

    def _contents(self, body: B, headers: Headers) -> list[tuple[AppliedLimit[B], str]]:
        """The limits on a request's contents, with their keys."""
        keys: list[tuple[AppliedLimit[B], str]] = []
        for counted in self._of_contents:
            if counted.key is not None:
                keys.append((counted, counted.key(body)))
            elif counted.key_of_headers is not None and (key := counted.key_of_headers(headers)) is not None:
                keys.append((counted, key))
        return keys

    def _refund(self, contents: Iterable[tuple[AppliedLimit[B], str]]) -> None:
        """Refunds a counted request, in the limits that allow it."""
        for counted, key in contents:
            if counted.limit.refunds_outages and self._context.limiter is not None:
                self._context.limiter.give_back([counted.limit], key)

    def _with_query_paths(self, error: Invalid) -> Invalid:
        """Moves a service's violations of query parameters to the paths that clients know: `/query/<name>`."""
        parameters = {f"/{name}" for name in query_params.names(self.declaration.query)}
        violations = tuple(
            Violation(f"/query{violation.path}", violation.message) if violation.path in parameters else violation
            for violation in error.violations
        )
        return Invalid(error.detail, violations=violations)

    def _add_position_header(self, reply: Response, call: Call, before: Position) -> Response:
        """Adds the position header, and records a write's position for its author and the other user it concerns.

        A list's position covers the streams that its data comes from. For the other streams it holds where they were
        `before` the read, so that a client that subscribes from its first list has no gap in any stream.
        """
        if not self.declaration.writes:
            if not reply.position:
                return reply
            return _with_header(
                reply, self._context.sealed.seal_sequences(self._list_position(reply.position, before).sequences)
            )
        written = Position.decode(reply.position)
        if reply.written_by is not None:
            self._context.positions.remember(reply.written_by, written)
        if reply.concerns is not None:
            self._context.positions.remember_for_peer(reply.concerns, written)
        seen = call.position.merge(written)
        return _with_header(reply, self._context.sealed.seal(seen if seen.sequences else START))

    def _list_position(self, read: str, before: Position) -> Position:
        """The position of a list; cached, because it stays the same while nothing happens."""
        if self._last_list_position[:2] != (read, before):
            position = Position({**before.sequences, **Position.decode(read).sequences})
            self._last_list_position = (read, before, position)
        return self._last_list_position[2]


# Routes of different types, as in an index of routes.
AnyEndpointRoute = EndpointRoute[Any, Any]


def encoded(reply: Response) -> tuple[bytes, Mapping[str, str]]:
    """The reply's serialized body, and its headers."""
    if reply.body is None:
        return b"", reply.headers
    if isinstance(reply.body, bytes):
        return reply.body, reply.headers
    return _ENCODER.encode(reply.body), {"content-type": "application/json", **reply.headers}


def _with_header(reply: Response, position: str) -> Response:
    return Response(
        status=reply.status,
        body=reply.body,
        headers={**reply.headers, POSITION: position},
        cookies=reply.cookies,
        position=reply.position,
    )
