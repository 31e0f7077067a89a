"""From a matched route to its answer: who asks, within which limits, with what input; then the handler."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec
from starlette.requests import Request

from contracts.errors import Invalid, Unauthenticated, Unavailable, Violation
from contracts.positions import Position
from contracts.subjects import AUTH
from infra.rpc.context import Call, enter
from services.gateway import bodies, queries, rate_limits
from services.gateway.endpoints import Counted, Endpoint, Incoming, Reply
from services.gateway.parts import Parts
from services.gateway.rate_limits import Standing, Subject
from services.gateway.tokens import Caller
from services.gateway.tracing import traceparent

B = TypeVar("B")
Q = TypeVar("Q")

POSITION = "vestnik-position"
_ENCODER = msgspec.json.Encoder()
# A position that every read model has reached: for writes that appended nothing a client could read.
_NOWHERE = Position.at(AUTH, 0)


class Dispatcher(Generic[Q, B]):
    """Serves one endpoint."""

    def __init__(self, endpoint: Endpoint[Q, B], parts: Parts) -> None:
        self.endpoint = endpoint
        self._parts = parts
        self._decoder = msgspec.json.Decoder(endpoint.body)

    async def serve(self, request: Request, request_id: str, standings: list[Standing]) -> Reply:
        """Answers the request; `standings` collects the limits that it was counted against, also if it fails.

        Raises:
            VestnikError: whatever is wrong with it.
        """
        endpoint, address = self.endpoint, request.client.host if request.client else ""
        signed_in = self._authenticate(request.headers.get("authorization"))
        self._count(standings, Subject.ADDRESS, rate_limits.address_key(address))
        if signed_in is not None:
            self._count(standings, Subject.ACCOUNT, signed_in.user_id)
        rate_limits.check(standings)
        call = Call(
            request_id=request_id,
            traceparent=traceparent(request.headers.get("traceparent")),
            position=self._seen(request.headers.get(POSITION), signed_in),
            actor=signed_in.user_id if signed_in else None,
            caller="gateway",
        )
        query = queries.decode(request.query_params, endpoint.query)
        body = await self._body(request)
        for counted in endpoint.limits:
            if counted.key is not None:
                self._take(standings, counted, counted.key(body))
        rate_limits.check(standings)
        enter(call)
        incoming = Incoming(
            parts=self._parts,
            call=call,
            query=query,
            body=body,
            path=request.path_params,
            headers=request.headers,
            address=address,
            signed_in=signed_in,
        )
        try:
            reply = await endpoint.handler(incoming)
        except Invalid as error:
            raise self._placed(error) from error
        return self._positioned(reply, call)

    def _authenticate(self, authorization: str | None) -> Caller | None:
        try:
            return self._parts.tokens.caller(authorization)
        except (Unauthenticated, Unavailable):
            # On a public route a token only helps to read one's own writes.
            if self.endpoint.public:
                return None
            raise

    def _seen(self, header: str | None, signed_in: Caller | None) -> Position:
        try:
            given = Position.decode(header or "")
        except Invalid as error:
            raise Invalid(violations=(Violation("/header/Vestnik-Position", "Not a position"),)) from error
        return given.merge(self._parts.positions.of(signed_in.user_id)) if signed_in else given

    async def _body(self, request: Request) -> B:
        bodies.check_length(request.headers.get("content-length"))
        if not self.endpoint.takes_body:
            return self.endpoint.body()
        body = await bodies.read(request.receive)
        bodies.check_media_type(request.headers.get("content-type"), self.endpoint.media_types)
        return bodies.decode(body, self._decoder)

    def _count(self, standings: list[Standing], subject: Subject, key: str) -> None:
        for counted in self.endpoint.limits:
            if counted.limit.subject is subject:
                self._take(standings, counted, key)

    def _take(self, standings: list[Standing], counted: Counted[B], key: str) -> None:
        if self._parts.limiter is not None:
            standings.append(self._parts.limiter.take(counted.limit, key))

    def _placed(self, error: Invalid) -> Invalid:
        """What a service says of a query parameter, at the path that a client knows it by."""
        parameters = {f"/{name}" for name in queries.names(self.endpoint.query)}
        violations = tuple(
            Violation(f"/query{found.path}", found.message) if found.path in parameters else found
            for found in error.violations
        )
        return Invalid(error.detail, violations=violations)

    def _positioned(self, reply: Reply, call: Call) -> Reply:
        """Adds the position header, and remembers what a user has written."""
        if not self.endpoint.writes:
            return _with_header(reply, reply.position) if reply.position else reply
        written = Position.decode(reply.position)
        if reply.written_by is not None:
            self._parts.positions.remember(reply.written_by, written)
        seen = call.position.merge(written)
        return _with_header(reply, (seen if seen.sequences else _NOWHERE).encode())


def encoded(reply: Reply) -> tuple[bytes, Mapping[str, str]]:
    """The reply's body and headers as they go out."""
    if reply.body is None:
        return b"", reply.headers
    if isinstance(reply.body, bytes):
        return reply.body, reply.headers
    return _ENCODER.encode(reply.body), {"content-type": "application/json", **reply.headers}


def _with_header(reply: Reply, position: str) -> Reply:
    return Reply(
        status=reply.status, body=reply.body, headers={**reply.headers, POSITION: position}, position=reply.position
    )
