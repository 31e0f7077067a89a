"""The latest tree heads, asked of the notary at most once in a few seconds, however many clients ask for them."""

import asyncio
import time
from collections.abc import Callable

from contracts.errors import NotFound
from contracts.rpc.vestnik.notary.v1 import LatestHeadsRequest, LatestHeadsResponse, NotaryServiceStub
from contracts.services import GATEWAY
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from services.gateway.clients import ServiceClient

# Seconds for which an answer is used; also what clients may cache.
LIFETIME = 5


class TreeHeads:
    def __init__(
        self, notary: ServiceClient[NotaryServiceStub] | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`notary`: None if this deployment has none."""
        self._notary = notary
        self._clock = clock
        # The call under way, or the last one.
        self._call: asyncio.Task[LatestHeadsResponse] | None = None
        self._asked_at = 0.0

    async def latest(self) -> LatestHeadsResponse:
        """
        Raises:
            NotFound: this deployment has no notary.
            Unavailable: the notary does not answer.
        """
        if self._notary is None:
            raise NotFound
        if self._call is None or (self._call.done() and not self._is_fresh(self._call)):
            self._asked_at = self._clock()
            self._call = asyncio.create_task(self._ask(self._notary))
        # One client that goes away does not end the call for the others.
        return await asyncio.shield(self._call)

    def _is_fresh(self, call: asyncio.Task[LatestHeadsResponse]) -> bool:
        return call.exception() is None and self._clock() - self._asked_at < LIFETIME

    async def _ask(self, notary: ServiceClient[NotaryServiceStub]) -> LatestHeadsResponse:
        call = Call(request_id=new_id(), caller=GATEWAY)
        return await notary.read(notary.stub.latest_heads, LatestHeadsRequest(), context=call)
