"""gRPC clients of the services behind the gateway, with the deadlines of their calls."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Any, Generic, Protocol, Self, TypeVar

from contracts.deadlines import REQUEST
from contracts.errors import VestnikError
from contracts.rpc.vestnik.auth.v1 import AuthServiceStub
from contracts.rpc.vestnik.contact.v1 import ContactServiceStub
from contracts.rpc.vestnik.messaging.v1 import MessagingServiceStub
from contracts.rpc.vestnik.notary.v1 import NotaryServiceStub
from contracts.rpc.vestnik.operator.v1 import OperatorServiceStub
from contracts.rpc.vestnik.profile.v1 import ProfileServiceStub
from contracts.rpc.vestnik.session.v1 import SessionServiceStub
from contracts.services import NOTARY, OPERATOR
from infra.rpc.call_context import Call
from infra.rpc.client import Client, Streaming

# Seconds. A read may wait 5 s for its read model; the rest is a margin for the network.
READ_SECONDS = 7.0

S = TypeVar("S")
R = TypeVar("R")
Request_contra = TypeVar("Request_contra", contravariant=True)
Response_co = TypeVar("Response_co", covariant=True)


class Method(Protocol[Request_contra, Response_co]):
    def __call__(
        self, message: Request_contra, *, timeout: float | None = None, metadata: dict[str, str] | None = None
    ) -> Awaitable[Response_co]: ...


Rq = TypeVar("Rq")
Rs = TypeVar("Rs")


class ServiceClient(Generic[S]):
    """Client of one service; calls carry the context of the request being served (infra.rpc.call_context)."""

    def __init__(self, client: Client, kind: Callable[[Any], S]) -> None:
        self._client = client
        self.stub = client.stub(kind)
        self._read_stubs: dict[Callable[[Any], Any], Any] = {}

    def stub_of(self, kind: Callable[[Any], R]) -> R:
        """The stub of another gRPC service at the same address, such as that of a read model."""
        stub: R = self._read_stubs.get(kind) or self._read_stubs.setdefault(kind, self._client.stub(kind))
        return stub

    async def read(self, method: Method[Rq, Rs], request: Rq, *, context: Call | None = None) -> Rs:
        """Sends a query; retried after a lost connection. `context`: for a call outside a request."""
        return await self._client.call(method, request, timeout=READ_SECONDS, idempotent=True, context=context)

    async def command(self, method: Method[Rq, Rs], request: Rq, *, repeatable: bool, about: str | None = None) -> Rs:
        """Sends a command; retried after a lost connection only if it is `repeatable`, that is, idempotent.

        `about`: id of the aggregate that is written to, if it is a single one: its writes go to the same replica first.
        """
        return await self._client.call(method, request, timeout=REQUEST, idempotent=repeatable, about=about)

    def stream(self, method: Streaming[Rq, Rs], request: Rq, context: Call) -> AsyncGenerator[Rs, None]:
        """Server-streaming call; not retried after a lost connection."""
        return self._client.stream(method, request, timeout=READ_SECONDS, context=context)

    def close(self) -> None:
        self._client.close()


class ServiceClients:
    """Clients of the services that the routes use, and of the optional ones that there are."""

    def __init__(self, client: Callable[[str], Client], *, optional: Collection[str]) -> None:
        self.auth = ServiceClient(client("auth"), AuthServiceStub)
        self.session = ServiceClient(client("session"), SessionServiceStub)
        self.profile = ServiceClient(client("profile"), ProfileServiceStub)
        self.contact = ServiceClient(client("contact"), ContactServiceStub)
        self.messaging = ServiceClient(client("messaging"), MessagingServiceStub)
        self.operator = ServiceClient(client(OPERATOR), OperatorServiceStub) if OPERATOR in optional else None
        self.notary = ServiceClient(client(NOTARY), NotaryServiceStub) if NOTARY in optional else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for remote in vars(self).values():
            if isinstance(remote, ServiceClient):
                remote.close()


def required(message: Rs | None) -> Rs:
    """Returns a field that every response has, which protobuf cannot express.

    Raises:
        VestnikError: the field is missing; the service is broken.
    """
    if message is None:
        raise VestnikError
    return message
