import asyncio
from typing import cast

import pytest

from contracts.errors import NotFound, Unavailable
from contracts.rpc.vestnik.notary.v1 import LatestHeadsRequest, LatestHeadsResponse, NotaryServiceStub
from services.gateway.cache.tree_heads import LIFETIME, TreeHeads
from services.gateway.clients import ServiceClient


class Notary:
    """Answers, or fails, once each call is released."""

    def __init__(self) -> None:
        self.calls = 0
        self.failure: Exception | None = None
        self.stub = self
        self.latest_heads = None

    async def read(self, method: object, request: LatestHeadsRequest, *, context: object) -> LatestHeadsResponse:
        self.calls += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return LatestHeadsResponse(jwks=str(self.calls))


@pytest.fixture
def notary() -> Notary:
    return Notary()


def cached(notary: Notary, clock: list[float]) -> TreeHeads:
    return TreeHeads(cast(ServiceClient[NotaryServiceStub], notary), clock=lambda: clock[0])


async def test_clients_share_a_call_and_its_answer_for_its_lifetime(notary: Notary) -> None:
    clock = [0.0]
    heads = cached(notary, clock)
    assert {answer.jwks for answer in await asyncio.gather(*(heads.latest() for _ in range(5)))} == {"1"}
    clock[0] = LIFETIME - 0.1
    assert (await heads.latest()).jwks == "1"
    clock[0] = LIFETIME
    assert (await heads.latest()).jwks == "2"


async def test_a_client_that_goes_away_does_not_end_the_call_of_the_others(notary: Notary) -> None:
    heads = cached(notary, [0.0])
    first, second = asyncio.create_task(heads.latest()), asyncio.create_task(heads.latest())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).jwks == "1"


async def test_a_failure_is_not_kept(notary: Notary) -> None:
    heads = cached(notary, [0.0])
    notary.failure = Unavailable()
    for answer in await asyncio.gather(heads.latest(), heads.latest(), return_exceptions=True):
        assert isinstance(answer, Unavailable)
    notary.failure = None
    assert (await heads.latest()).jwks == "2"


async def test_without_a_notary_there_is_nothing() -> None:
    with pytest.raises(NotFound):
        await TreeHeads(None).latest()
