from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infra.load.errors import GaveUp, LoadError
from infra.load.gateway_client import Gateway
from tests.unit.infra.load.fake_gateway import Answer, FakeGateway, Request


@pytest_asyncio.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[Gateway]:
    client = Gateway(gateway.url, patience=5)
    yield client
    client.close()


class Script:
    """Scripted answers, one after the other; after the last one those of the fake gateway."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def __call__(self, request: Request, answer: Answer) -> Answer:
        return self.answers.pop(0) if self.answers else answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((503, {}, {"code": "unavailable"}), "503 unavailable"),
        ((429, {"Retry-After": "0"}, {"code": "rate_limited"}), "429 rate_limited"),
        ((504, {}, {"code": "deadline_exceeded"}), "504 deadline_exceeded"),
        ((502, {}, "a proxy's page"), "502 unknown"),
        (None, "connection lost"),
    ],
)
async def test_temporary_errors_are_retried(gateway: FakeGateway, client: Gateway, answer: Answer, reason: str) -> None:
    gateway.instead = Script(answer, answer)
    response = await client.ask("GET", "/healthz")
    assert response.status == 200
    assert client.repeated == {reason: 2}


async def test_a_permanent_error_is_returned_without_retries(gateway: FakeGateway, client: Gateway) -> None:
    response = await client.ask("GET", "/nothing")
    assert response.status == 404
    assert len(gateway.requests) == 1


async def test_retries_end_after_the_patience(gateway: FakeGateway) -> None:
    gateway.instead = lambda request, answer: (503, {}, {"code": "unavailable"})
    client = Gateway(gateway.url, patience=0.2)
    with pytest.raises(GaveUp, match="503 unavailable"):
        await client.ask("GET", "/healthz")
    client.close()


async def test_a_gateway_that_is_not_there_is_one_clear_line() -> None:
    client = Gateway("http://127.0.0.1:1")
    with pytest.raises(LoadError, match=r"Cannot reach the gateway at http://127\.0\.0\.1:1") as caught:
        await client.check()
    assert "\n" not in str(caught.value)


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(LoadError, match="is not the URL of a gateway"):
        Gateway("127.0.0.1:8080")


async def test_a_connection_is_kept_for_the_next_request(gateway: FakeGateway, client: Gateway) -> None:
    gateway.instead = lambda request, answer: (200, {}, "x" * 100_000)
    bodies = [(await client.ask("GET", "/healthz")).body for _ in range(3)]
    assert {len(body) for body in bodies} == {100_002}
    assert len(client._connections._idle) == 1
