"""Traces of a running system, as a collector receives them; only a client that asks for a trace gets one here."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from secrets import token_hex

import pytest
import pytest_asyncio

from tests.e2e.conftest import client
from tests.e2e.people import Api, Json, Person, eventually
from tests.fix_system import System
from tests.otlp_receiver import OtlpReceiver, Span
from tests.sse_client import listening

TEXT = "the text of nobody else"


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="module")
def traced_system(collector: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that exports traces: the environment of each of its processes differs from that of the shared ones."""
    system = System(
        tmp_path_factory.mktemp("traced") / "data",
        settings={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=ours",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "VESTNIK_LOG_FORMAT": "json",
        },
    )
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest_asyncio.fixture
async def api(traced_system: System) -> AsyncIterator[Api]:
    async with client(traced_system) as http:
        yield Api(traced_system, http)


class Trace:
    """A client's own trace, which the requests that have its header belong to."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id, self.span_id = token_hex(16), token_hex(8)
        self.headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{'01' if sampled else '00'}"}

    async def spans(self, collector: OtlpReceiver, complete: Callable[[set[str]], bool]) -> list[Span]:
        """The spans of the trace, once their names are complete and the parent of each has come."""

        async def whole() -> bool:
            spans = collector.of_trace(self.trace_id)
            known = {self.span_id, *(span.span_id for span in spans)}
            return complete({span.name for span in spans}) and known.issuperset(span.parent_id for span in spans)

        try:
            await eventually(whole, "the spans of the trace")
        except AssertionError as error:
            received = sorted((span.service, span.name) for span in collector.of_trace(self.trace_id))
            raise AssertionError(f"{error}: {received}") from None
        return collector.of_trace(self.trace_id)


async def write(one: Person, other: Person, trace: Trace) -> Json:
    response = await one.ask(
        "POST",
        f"/v1/conversations/{other.user_id}/messages",
        json={"text": TEXT, "client_message_id": token_hex(8)},
        headers=trace.headers,
    )
    assert response.status_code == 201, response.text
    message: Json = response.json()
    return message


@asynccontextmanager
async def following(api: Api, one: Person, other: Person) -> AsyncIterator[None]:
    """The other is connected and has caught up: what happens from now on comes live, and not from a read model."""
    async with listening(api.system.url, other.access_token) as stream:
        await one.sends(other, TEXT)
        await stream.until(lambda stream: any(event.type == "message.sent" for event in stream.events))
        yield


def of(spans: list[Span], name: str) -> Span:
    [span] = [span for span in spans if span.name == name]
    return span


async def test_one_trace_leads_from_the_request_to_the_row_and_to_the_receiver(
    api: Api, collector: OtlpReceiver
) -> None:
    anna, boris = await api.friends()
    trace, call = Trace(), "vestnik.messaging.v1.MessagingService/SendMessage"
    post = "POST /v1/conversations/{user_id}/messages"
    async with following(api, anna, boris):
        message = await write(anna, boris, trace)
        wanted = {post, call, "append MESSAGING", "project conversations", "deliver message.sent"}
        spans = await trace.spans(collector, wanted.issubset)
    by_id = {span.span_id: span for span in spans}
    [root] = [span for span in spans if span.parent_id not in by_id]
    assert (root.name, root.parent_id) == (post, trace.span_id)
    sent, served = sorted((span for span in spans if span.name == call), key=lambda span: span.kind)
    assert (sent.kind, sent.service, sent.parent_id) == ("client", "vestnik-gateway", root.span_id)
    assert (served.kind, served.service, served.parent_id) == ("server", "vestnik-messaging", sent.span_id)
    for name, service in (
        ("append MESSAGING", "vestnik-messaging"),
        ("project conversations", "vestnik-messaging"),
        ("deliver message.sent", "vestnik-gateway"),
    ):
        assert (of(spans, name).service, of(spans, name).parent_id) == (service, served.span_id)
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/conversations/{user_id}/messages",
        "http.response.status_code": 201,
        "url.scheme": "http",
    }
    assert of(spans, "append MESSAGING").attributes["messaging.batch.message_count"] == 1
    assert served.attributes["rpc.grpc.status_code"] == 0
    assert of(spans, "deliver message.sent").attributes["vestnik.live.clients"] == 1
    assert [span.name for span in spans if span.failed or span.ended < span.began] == []
    assert of(spans, "append MESSAGING").ended <= of(spans, "project conversations").ended
    # No person, no message: whoever reads traces may not know them.
    values = json.dumps([[span.name, span.attributes] for span in spans])
    secrets = (anna.user_id, boris.user_id, anna.username, anna.session_id, message["message_id"], TEXT)
    assert [secret for secret in secrets if secret in values] == []
    assert (collector.headers["path"], collector.headers["x-tenant"]) == ("/v1/traces", "ours")


async def test_a_reaction_and_what_follows_from_it_belong_to_the_request_that_caused_them(
    api: Api, collector: OtlpReceiver
) -> None:
    trace = Trace()
    response = await api.http.post("/v1/users", json=api.registration(), headers=trace.headers)
    assert response.status_code == 201, response.text
    wanted = {"POST /v1/users", "react auth-verification-mail", "append PROFILE", "project profiles"}
    spans = await trace.spans(collector, wanted.issubset)
    by_id = {span.span_id: span for span in spans}
    assert {by_id[span.parent_id].kind for span in spans if span.name == "react auth-verification-mail"} == {"server"}
    creation = by_id[of(spans, "append PROFILE").parent_id]
    assert (creation.name, creation.service) == ("react profile-creation", "vestnik-profile")


async def test_a_refused_request_is_no_error_and_its_call_is_one_of_the_caller(
    api: Api, collector: OtlpReceiver
) -> None:
    anna, boris = await api.people(2)
    trace, call = Trace(), "vestnik.messaging.v1.MessagingService/SendMessage"
    response = await anna.ask(
        "POST",
        f"/v1/conversations/{boris.user_id}/messages",
        json={"text": TEXT, "client_message_id": token_hex(8)},
        headers=trace.headers,
    )
    assert response.status_code == 403, response.text
    spans = await trace.spans(collector, {"POST /v1/conversations/{user_id}/messages", call}.issubset)
    failed = {(span.name, span.kind) for span in spans if span.failed}
    assert failed >= {(call, "client")}
    assert {kind for _, kind in failed} == {"client"}
    # Unknown paths have no template, and foreign methods no name.
    lost = Trace()
    await api.http.request("PROPFIND", f"/v1/nothing/{boris.user_id}", headers=lost.headers)
    [span] = await lost.spans(collector, bool)
    assert (span.name, span.attributes["http.request.method"]) == ("HTTP", "_OTHER")
    assert boris.user_id not in json.dumps(span.attributes)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "01",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"ff-{'1' * 32}-{'1' * 16}-01",
        f"00-{'A' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-01-more",
        f"00-{'1' * 31}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-1",
        f"00-{'x' * 32}-{'1' * 16}-01",
        f"00-{'1' * 4000}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-00",
    ],
)
async def test_without_a_valid_header_that_is_sampled_nothing_is_traced(
    api: Api, collector: OtlpReceiver, traceparent: str
) -> None:
    before = {span.trace_id for span in collector.spans}
    response = await api.http.get("/v1/users/me", headers={"traceparent": traceparent})
    assert response.status_code == 401
    # The spans of a later request come after those of an earlier one.
    trace = Trace()
    await api.http.get("/v1/users/me", headers=trace.headers)
    await trace.spans(collector, bool)
    assert {span.trace_id for span in collector.spans} - before == {trace.trace_id}


async def test_an_unsampled_request_makes_no_span_anywhere(api: Api, collector: OtlpReceiver) -> None:
    anna, boris = await api.friends()
    quiet, loud = Trace(sampled=False), Trace()
    async with following(api, anna, boris):
        for trace in (quiet, loud):
            await write(anna, boris, trace)
        await loud.spans(collector, {"project conversations", "deliver message.sent"}.issubset)
    assert collector.of_trace(quiet.trace_id) == []


async def test_a_collector_that_is_away_costs_nothing_but_a_warning(
    api: Api, collector: OtlpReceiver, traced_system: System
) -> None:
    anna, boris = await api.friends()
    collector.stop()
    for _ in range(50):
        await write(anna, boris, Trace())
    assert [message["text"] for message in await boris.messages(anna, limit=50)] == [TEXT] * 50

    async def warned() -> bool:
        return "does not take spans" in traced_system.log_tail(10_000)

    await eventually(warned, "the warning")
    assert traced_system.interrupt() == 0
    log = traced_system.log_tail(10_000)
    # One a minute from each process.
    assert 1 <= log.count("does not take spans") <= 60
    assert "Traceback" not in log
    assert "urllib3" not in log
