"""A replica of auth that answers one method."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from contracts.rpc.vestnik.auth.v1 import AuthServiceBase, GetUserRequest, GetUserResponse, User
from infra.rpc.server import RpcServer
from infra.security.secrets import Secrets

# Timeout in seconds of a call that is rejected immediately at every attempt: it ends in a pause, right before the next
# attempt. An attempt that is in progress when the time is up could have been answered, which is another error.
SOON = 1.1
Answer = Callable[[GetUserRequest], Awaitable[GetUserResponse]]


class Auth(AuthServiceBase):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def get_user(self, message: GetUserRequest) -> GetUserResponse:
        return await self.answer(message)


async def known(message: GetUserRequest) -> GetUserResponse:
    return GetUserResponse(user=User(user_id=message.user_id))


@asynccontextmanager
async def serving(secrets: Secrets, answer: Answer, port: int) -> AsyncIterator[RpcServer]:
    server = RpcServer("auth", [Auth(answer)], secrets=secrets)
    await server.start("127.0.0.1", port)
    server.set_ready(True)
    try:
        yield server
    finally:
        await server.drain(1.0)
