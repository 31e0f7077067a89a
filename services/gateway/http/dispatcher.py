"""Dispatches a matched request: limits, authentication and decoding, then the handler and its response."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import msgspec
from starlette.datastructures import Headers

from contracts.deadlines import REQUEST
from contracts.errors import Invalid, Unauthenticated, Unavailable, Violation
from contracts.positions import Position
from contracts.subjects import AUTH
from infra.rpc.call_context import Call, enter
from services.gateway.context import GatewayContext
from services.gateway.http import query_params, request_body
from services.gateway.http.endpoint import AppliedLimit, Endpoint, Request, Response
from services.gateway.http.request import HttpRequest
from services.gateway.http.trace_headers import correlation_id, parse_traceparent
from services.gateway.limits import policies, rate_limiter
from services.gateway.limits.rate_limiter import LimitState, Subject
from services.gateway.security.access_tokens import Principal
from services.gateway.security.client_address import client_address, counted_as

B = TypeVar("B")
Q = TypeVar("Q")

POSITION = "vestnik-position"
_ENCODER = msgspec.json.Encoder()
# A position that every read model has reached: for writes that appended nothing a client could read.
START = Position.at(AUTH, 0)


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Input of a request or command; only the token has been checked."""

    request_id: str
    signed_in: Principal | None
    # Of the client, as far as known.
    address: str
    headers: Headers
    path: Mapping[str, str]
    # The raw query string.
    query: bytes


class Dispatcher(Generic[Q, B]):
    """Serves one endpoint."""

    def __init__(self, endpoint: Endpoint[Q, B], parts: GatewayContext) -> None:
        self.endpoint = endpoint
        self._parts = parts
        self._decoder = msgspec.json.Decoder(endpoint.body)
        self._names = tuple(msgspec.json.encode(name) for name in query_params.names(endpoint.body))
        self._queried = bool(query_params.names(endpoint.query))
        # The last list's own position, the stream heads before it, and the merged position that was returned.
        self._last_list_position = ("", Position(), Position())
        counted = endpoint.limits if parts.limiter is not None else ()
        self._of_address = tuple(each for each in counted if each.limit.subject is Subject.ADDRESS)
        self._of_account = tuple(each for each in counted if each.limit.subject is Subject.ACCOUNT)
        quota = parts.settings.daily_bytes if counted and endpoint.takes_body and endpoint.writes else 0
        self._bytes = policies.daily_bytes(quota) if quota else None
        self._of_contents = tuple(each for each in counted if each.key is not None or each.key_of_headers is not None)

    async def serve(self, request: HttpRequest, request_id: str, standings: list[LimitState]) -> Response:
        """Serves the request; `standings` collects the limits that it was counted against, also if it fails.

        Raises:
            VestnikError: the request is refused, or fails.
        """
        address = client_address(request.peer, request.headers, trusted_hops=self._parts.settings.trusted_hops)
        # Before the token: verifying one costs more than everything else.
        self._count_address(address, standings)
        asked = Input(
            request_id=request_id,
            signed_in=self._authenticate(request.headers.get("authorization")),
            address=address,
            headers=request.headers,
            path=request.path_params,
            query=request.query,
        )
        return await self.run(asked, lambda: self._body(request, asked.signed_in, standings), standings)

    async def command(self, asked: Input, body: bytes, standings: list[LimitState]) -> Response:
        """Serves a command that came in a message instead of a request; otherwise like `serve`."""

        async def decoded() -> B:
            request_body.check_size(body)
            self._count_bytes(body, asked.signed_in, standings)
            return (
                request_body.decode(body, self._decoder, self._names)
                if self.endpoint.takes_body
                else self.endpoint.body()
            )

        self._count_address(asked.address, standings)
        return await self.run(asked, decoded, standings)

    async def run(self, asked: Input, read_body: Callable[[], Awaitable[B]], standings: list[LimitState]) -> Response:
        """Counts, checks and handles every request and command, after its address was counted."""
        endpoint, signed_in, address = self.endpoint, asked.signed_in, asked.address
        if signed_in is not None and self._of_account:
            for counted in self._of_account:
                self._count(standings, counted, signed_in.user_id)
            rate_limiter.check(standings)
        position = await self._required_position(asked.headers.get(POSITION), signed_in)
        query = query_params.decode(asked.query, endpoint.query) if self._queried else endpoint.query()
        body = await read_body()
        for counted in self._of_contents:
            if counted.key is not None:
                self._count(standings, counted, counted.key(body))
            elif counted.key_of_headers is not None and (key := counted.key_of_headers(asked.headers)) is not None:
                self._count(standings, counted, key)
        if self._of_contents:
            rate_limiter.check(standings)
        call = Call(
            request_id=asked.request_id,
            correlation_id=correlation_id(asked.headers.get("x-request-id"), asked.request_id),
            traceparent=parse_traceparent(asked.headers.get("traceparent")),
            position=position,
            actor=signed_in.user_id if signed_in else None,
            caller="gateway",
            deadline=time.monotonic() + REQUEST,
        )
        enter(call)
        incoming = Request(
            context=self._parts,
            call=call,
            query=query,
            body=body,
            path=asked.path,
            headers=asked.headers,
            address=address,
            signed_in=signed_in,
            standings=standings,
        )
        before = START if endpoint.writes else self._parts.live.positions()
        try:
            reply = await endpoint.handler(incoming)
        except Invalid as error:
            raise self._with_query_paths(error) from error
        return self._add_position_header(reply, call, before)

    def _count_address(self, address: str, standings: list[LimitState]) -> None:
        for counted in self._of_address:
            self._count(standings, counted, counted_as(address))
        rate_limiter.check(standings)

    def _authenticate(self, authorization: str | None) -> Principal | None:
        try:
            return self._parts.tokens.authenticate(authorization)
        except (Unauthenticated, Unavailable):
            # On a public route a token is needed only to read one's own writes.
            if self.endpoint.public:
                return None
            raise

    async def _required_position(self, header: str | None, signed_in: Principal | None) -> Position:
        """The position that the read must have reached.

        Raises:
            Invalid: the header is not a position, or no stream has reached it: a wait would time out.
        """
        try:
            given = self._parts.sealed.open(header or "")
        except Invalid as error:
            raise Invalid(violations=(Violation("/header/Vestnik-Position", "Not a position"),)) from error
        if given.sequences and not await self._parts.ends.include(given, self._parts.live.positions()):
            raise Invalid(violations=(Violation("/header/Vestnik-Position", "Not a position from this system"),))
        return given.merge(self._parts.positions.required_for(signed_in.user_id)) if signed_in else given

    async def _body(self, request: HttpRequest, signed_in: Principal | None, standings: list[LimitState]) -> B:
        request_body.check_length(request.headers.get("content-length"))
        if not self.endpoint.takes_body:
            return self.endpoint.body()
        body = request.whole_body()
        if body is None:
            body = await request_body.read(request.receive)
        request_body.check_size(body)
        self._count_bytes(body, signed_in, standings)
        request_body.check_media_type(request.headers.get("content-type"), self.endpoint.media_types)
        return request_body.decode(body, self._decoder, self._names)

    def _count_bytes(self, body: bytes, signed_in: Principal | None, standings: list[LimitState]) -> None:
        if self._bytes is not None and signed_in is not None:
            assert self._parts.limiter is not None
            standings.append(self._parts.limiter.consume(self._bytes, signed_in.user_id, len(body)))
            rate_limiter.check(standings)

    def _count(self, standings: list[LimitState], counted: AppliedLimit[B], key: str) -> None:
        if self._parts.limiter is not None:
            standings.append(self._parts.limiter.consume(counted.limit, key))

    def _with_query_paths(self, error: Invalid) -> Invalid:
        """Moves a service's violations of query parameters to the paths that clients know: `/query/<name>`."""
        parameters = {f"/{name}" for name in query_params.names(self.endpoint.query)}
        violations = tuple(
            Violation(f"/query{found.path}", found.message) if found.path in parameters else found
            for found in error.violations
        )
        return Invalid(error.detail, violations=violations)

    def _add_position_header(self, reply: Response, call: Call, before: Position) -> Response:
        """Adds the position header, and records a write's position for its author and the other user it concerns.

        A list's position covers the streams that its data comes from. For the other streams it holds where they were
        `before` the read, so that a client that subscribes from its first list has no gap in any stream.
        """
        if not self.endpoint.writes:
            if not reply.position:
                return reply
            return _with_header(
                reply, self._parts.sealed.seal_places(self._list_position(reply.position, before).sequences)
            )
        written = Position.decode(reply.position)
        if reply.written_by is not None:
            self._parts.positions.remember(reply.written_by, written)
        if reply.concerns is not None:
            self._parts.positions.remember_for_peer(reply.concerns, written)
        seen = call.position.merge(written)
        return _with_header(reply, self._parts.sealed.seal(seen if seen.sequences else START))

    def _list_position(self, read: str, before: Position) -> Position:
        """The position of a list; cached, because it stays the same while nothing happens."""
        if self._last_list_position[:2] != (read, before):
            told = Position({**before.sequences, **Position.decode(read).sequences})
            self._last_list_position = (read, before, told)
        return self._last_list_position[2]


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
