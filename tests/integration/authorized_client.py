"""A client that makes each call as a service with the permission, on behalf of the user in the request."""

from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec

from contracts.services import permitted_callers
from infra.rpc.call_context import Call, current
from infra.rpc.client import Client, Streaming, Unary
from infra.security.secrets import Secrets
from infra.settings import Settings

Request_contra = TypeVar("Request_contra", contravariant=True)
Response = TypeVar("Response")


class ActingClient(Client):
    """Chooses a permitted caller for each call; `me`: always calls as this service, permitted or not."""

    def __init__(self, target: str, *, settings: Settings, secrets: Secrets, me: str | None = None) -> None:
        super().__init__(target, me=me or "gateway", settings=settings, secrets=secrets)
        self._service = target
        self._me = me
        self._settings_and_secrets = settings, secrets
        self._others: dict[str, Client] = {}

    async def call(
        self,
        method: Unary[Request_contra, Response],
        request: Request_contra,
        *,
        timeout: float = 5.0,
        idempotent: bool = False,
        context: Call | None = None,
        about: str | None = None,
    ) -> Response:
        caller, call = self._acting(method, request, context or current())
        return await Client.call(
            self._as(caller), method, request, timeout=timeout, idempotent=idempotent, context=call, about=about
        )

    async def stream(
        self,
        method: Streaming[Request_contra, Response],
        request: Request_contra,
        *,
        timeout: float = 30.0,
        context: Call | None = None,
    ) -> AsyncGenerator[Response, None]:
        caller, call = self._acting(method, request, context or current())
        async for message in Client.stream(self._as(caller), method, request, timeout=timeout, context=call):
            yield message

    def close(self) -> None:
        super().close()
        for client in self._others.values():
            client.close()

    def _acting(self, method: object, request: object, call: Call) -> tuple[str, Call]:
        words = getattr(method, "__name__", "").split("_")
        path = "".join(word.capitalize() for word in words)
        callers = permitted_callers(f"/vestnik.{self._service}.v1.{self._service.capitalize()}Service/{path}")
        for caller, field in callers.items():
            user = getattr(request, field) if field is not None else call.actor
            if call.actor in (None, user):
                return self._me or caller, msgspec.structs.replace(call, actor=user)
        return self._me or next(iter(callers)), call

    def _as(self, caller: str) -> Client:
        if caller == (self._me or "gateway"):
            return self
        if caller not in self._others:
            settings, secrets = self._settings_and_secrets
            self._others[caller] = Client(self._service, me=caller, settings=settings, secrets=secrets)
        return self._others[caller]
