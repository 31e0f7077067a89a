"""A client whose calls share one stream, a handler that holds calls, and a stream below the level of a client."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grpclib import GRPCError, Status
from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.exceptions import StreamTerminatedError

from contracts.rpc.vestnik.auth.v1 import AuthServiceStub, GetUserRequest, GetUserResponse
from contracts.rpc.vestnik.calls.v1 import Answers, Calls
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.multiplex import messages as wire
from infra.rpc.service_tokens import Issuer
from infra.rpc.transport.framing import frame, read_frame
from infra.rpc.transport.protobuf_codec import StrictCodec
from infra.security.secrets import Secrets
from infra.settings import Settings
from tests.integration.infra.auth_replica import known
from tests.integration.projections.silent_proxy import SilentProxy

GET_USER = "/vestnik.auth.v1.AuthService/GetUser"
WITHIN = 60.0


@asynccontextmanager
async def calling(secrets: Secrets, *ports: int, me: str = "gateway") -> AsyncIterator[Client]:
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    client = Client("auth", me=me, settings=Settings(addresses={"auth": addresses}), secrets=secrets, carried=True)
    try:
        yield client
    finally:
        client.close()


async def ask(client: Client, user: str = "u", *, timeout: float = WITHIN, idempotent: bool = False) -> str:
    answer = await client.call(
        client.stub(AuthServiceStub).get_user,
        GetUserRequest(user_id=user),
        timeout=timeout,
        idempotent=idempotent,
        context=Call(request_id="r", actor=user),
    )
    assert answer.user is not None
    return answer.user.user_id


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[tuple[SilentProxy, int]]:
    async with SilentProxy(f"http://127.0.0.1:{port}") as proxy:
        yield proxy, int(proxy.url.rpartition(":")[2])


class Held:
    """A handler whose calls wait until released; records which calls started, ended and were cancelled."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.cut_off: Counter[str] = Counter()
        self.go = asyncio.Event()

    async def __call__(self, message: GetUserRequest) -> GetUserResponse:
        self.begun[message.user_id] += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cut_off[message.user_id] += 1
            raise
        self.ended[message.user_id] += 1
        return await known(message)


class Raw:
    """A multiplexing stream without the client's code, on which a test sends any bytes."""

    def __init__(self, stream: Stream[Any, Any], secrets: Secrets, token: str | None) -> None:
        self.stream = stream
        self._issuer = Issuer("gateway", secrets)
        self._token = token
        self._answers: list[wire.Answer] = []

    def call(
        self,
        number: int,
        user: str,
        *,
        timeout: float = WITHIN,
        method: str = GET_USER,
        token: str | None = None,
        padding: int = 0,
    ) -> bytes:
        metadata = {
            "authorization": token if token is not None else f"Bearer {self._issuer.token('auth', user)}",
            "x-request-id": "r" * (padding or 1),
        }
        request = bytes(GetUserRequest(user_id=user))
        return wire.call(number, method, request, timeout=timeout, metadata=metadata)

    async def send(self, message: bytes) -> None:
        await self.stream._stream.send_data(frame(message))

    async def answer(self) -> wire.Answer:
        async with asyncio.timeout(WITHIN):
            while not self._answers:
                message = await read_frame(self.stream._stream, 64 * 1024 * 1024)
                assert message is not None
                self._answers += wire.read_answers(message)[0]
        return self._answers.pop(0)

    async def end(self) -> Status:
        """How the service ends the stream."""
        async with asyncio.timeout(WITHIN):
            with self.stream._wrapper:
                while await read_frame(self.stream._stream, 64 * 1024 * 1024) is not None:
                    pass
                trailers = dict(await self.stream._stream.recv_trailers())
        return Status(int(trailers["grpc-status"]))


@asynccontextmanager
async def opened(secrets: Secrets, port: int, *, me: str = "gateway", token: str | None = None) -> AsyncIterator[Raw]:
    channel = Channel("127.0.0.1", port, codec=StrictCodec())
    token = token if token is not None else f"Bearer {Issuer(me, secrets).token('auth')}"
    stream: Stream[Any, Any] = channel.request(
        wire.PATH, Cardinality.STREAM_STREAM, Calls, Answers, metadata={"authorization": token}
    )
    try:
        async with stream:
            await stream.send_request()
            await stream.recv_initial_metadata()
            yield Raw(stream, secrets, token)
            if stream._stream.closable:
                await stream.cancel()
    except (StreamTerminatedError, GRPCError):
        # A service that has ended it by itself; one that has refused it is what the test asks for.
        if stream.initial_metadata is None or stream._trailers_only:
            raise
    finally:
        channel.close()
