"""The context that travels with every call: request id, trace, the caller's position, the acting user, the caller."""

from collections.abc import Mapping
from contextvars import ContextVar, Token

import msgspec

from contracts.envelope import Provenance
from contracts.positions import Position
from contracts.tracing.traceparent import valid
from contracts.values.ids import new_id

REQUEST_ID = "x-request-id"
CORRELATION_ID = "x-correlation-id"
TRACEPARENT = "traceparent"
POSITION = "vestnik-position"


class ClientSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session of the client that the gateway serves. Only calls to the operator's service carry it."""

    session_id: str
    # The client's address as the gateway knows it.
    address: str
    # Unix time of the login, in seconds.
    logged_in_at: int = 0
    # Whether the login came with a second factor.
    second_factor: bool = False
    # Whether the client's page asks by itself, and its user has not touched it for a while.
    unattended: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    # The client's own id if it sent one; shown in responses and logs.
    request_id: str
    # Our own id if the request id is the client's: events are correlated by an id that no client can choose.
    correlation_id: str = ""
    traceparent: str | None = None
    # What the caller has seen; a read waits until its read model has caught up with it.
    position: Position = Position()
    # Id of the user on whose behalf the call is made, from the service token.
    actor: str | None = None
    # The calling service.
    caller: str = ""
    # From the service token.
    session: ClientSession | None = None
    # Deadline on this process's monotonic clock; calls made on behalf of this one end by then too.
    deadline: float | None = None

    def provenance(self, causation_id: str | None = None) -> Provenance:
        return Provenance(
            actor=self.actor,
            correlation_id=self.correlation_id or self.request_id,
            request_id=self.request_id if self.correlation_id else None,
            causation_id=causation_id,
            traceparent=self.traceparent,
        )

    def metadata(self) -> dict[str, str]:
        """The context as gRPC metadata for the next service; service, actor and session are in the service
        token."""
        pairs = {REQUEST_ID: self.request_id}
        if self.correlation_id:
            pairs[CORRELATION_ID] = self.correlation_id
        if self.traceparent:
            pairs[TRACEPARENT] = self.traceparent
        if self.position.sequences:
            pairs[POSITION] = self.position.encode()
        return pairs

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, object], caller: str, actor: str | None, session: ClientSession | None = None
    ) -> "Call":
        """Parses the metadata that `metadata` produces.

        Raises:
            Invalid: the position cannot be decoded.
        """

        def text(key: str) -> str:
            return str(metadata.get(key) or "")

        return cls(
            request_id=text(REQUEST_ID) or new_id(),
            correlation_id=text(CORRELATION_ID),
            traceparent=valid(text(TRACEPARENT)),
            position=Position.decode(text(POSITION)),
            actor=actor,
            caller=caller,
            session=session,
        )


_current: ContextVar[Call | None] = ContextVar("vestnik_call", default=None)


def current() -> Call:
    """The call being served; outside of one (a reaction, a tool) a new one with its own id."""
    return _current.get() or Call(request_id=new_id())


def serving() -> Call | None:
    """The call being served by this task, if any."""
    return _current.get()


def enter(call: Call) -> Token[Call | None]:
    """Sets the current call of this task."""
    return _current.set(call)
