"""The tracer: the sampler's decisions, and the spans as a collector receives them."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from contracts.tracing.spans import SpanKind
from contracts.tracing.traceparent import is_sampled, parse
from infra.telemetry import otlp_tracer
from infra.telemetry.otlp_tracer import OtlpTracer
from tests.otlp_receiver import OtlpReceiver

SAMPLED, UNSAMPLED = f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'b' * 16}-00"
# By the trace's ratio sampler: the lowest trace id is sampled with each rate, and the highest with none.
LOW, HIGH = f"00-{'0' * 31}1-{'b' * 16}-00", f"00-{'f' * 32}-{'b' * 16}-01"

Start = Callable[..., OtlpTracer]


@pytest.fixture
def collector() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def start(collector: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    # On a busy machine the last export takes longer than a process waits for it.
    monkeypatch.setattr(otlp_tracer, "_LAST_EXPORT", 60.0)
    before = set(threading.enumerate())

    def start(**variables: str) -> OtlpTracer:
        for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **variables}.items():
            monkeypatch.setenv(name, value)
        return OtlpTracer("messaging")

    yield start
    # What an exporter logs at its end is of this test, and of no later one.
    for thread in set(threading.enumerate()) - before:
        thread.join(60)


def test_without_a_sampler_every_trace_is_sampled_that_a_client_does_not_exclude(start: Start) -> None:
    tracer = start()
    assert tracer.enter(UNSAMPLED, "request") == (None, UNSAMPLED)
    for header in (None, SAMPLED):
        span, traceparent = tracer.enter(header, "request")
        assert span is not None
        assert span.traceparent == traceparent
        assert is_sampled(traceparent)
        span.end()
    tracer.stop()


def test_the_ratio_holds_for_traces_that_begin_here(start: Start, collector: OtlpReceiver) -> None:
    tracer = start(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25")
    sampled = 0
    for _ in range(2_000):
        span, traceparent = tracer.enter(None, "request")
        assert (span is None) is (traceparent is None)
        if span is not None:
            sampled += 1
            span.end()
    tracer.stop()
    # Far more than five standard deviations.
    assert 380 < sampled < 620
    # The sampler decided by the ids that the traces have.
    assert len({span.trace_id for span in collector.spans}) == sampled
    assert all(int(span.trace_id[16:], 16) < 0.25 * 2**64 for span in collector.spans)


def test_a_sampler_that_does_not_ask_the_client_overrules_its_header(start: Start) -> None:
    tracer = start(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5")
    assert tracer.enter(HIGH, "request") == (None, HIGH[:-2] + "00")
    span, _ = tracer.enter(LOW, "request")
    assert span is not None
    assert parse(span.traceparent).trace_id == 1
    tracer.stop()


def test_a_span_is_exported_with_all_that_it_says(start: Start, collector: OtlpReceiver) -> None:
    tracer = start(OTEL_RESOURCE_ATTRIBUTES="host.name=one")
    started_ns = time.time_ns() - 1_000_000_000
    span = tracer.child(SAMPLED, SpanKind.CONSUMER, "project conversations", started_ns)
    assert span is not None
    below = tracer.child(span.traceparent, SpanKind.CLIENT, "call", None)
    assert below is not None
    below.rename("another name")
    below.set("rpc.system", "grpc")
    below.link(SAMPLED)
    below.end("UNAVAILABLE")
    span.end()
    tracer.stop()
    call, projection = collector.spans
    assert (projection.service, projection.kind, projection.began) == ("vestnik-messaging", "consumer", started_ns)
    assert (projection.trace_id, projection.parent_id, projection.failed) == ("a" * 32, "b" * 16, False)
    assert (call.name, call.kind, call.failed, call.links) == ("another name", "client", True, ("b" * 16,))
    assert (call.trace_id, call.parent_id) == ("a" * 32, projection.span_id)
    assert call.attributes == {"rpc.system": "grpc", "error.type": "UNAVAILABLE"}


def test_the_environment_may_name_the_service(start: Start, collector: OtlpReceiver) -> None:
    for variables in ({"OTEL_SERVICE_NAME": "ours"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours"}):
        tracer = start(**variables)
        span, _ = tracer.enter(None, "request")
        assert span is not None
        span.end()
        tracer.stop()
    assert [span.service for span in collector.spans] == ["ours", "ours"]


def test_what_names_no_parent_makes_no_span(start: Start) -> None:
    tracer = start()
    assert tracer.child(f"00-{'0' * 32}-{'b' * 16}-01", SpanKind.SERVER, "call", None) is None
    assert tracer.child("nonsense1", SpanKind.SERVER, "call", None) is None
    tracer.stop()


def test_a_process_stops_although_its_collector_is_away(
    start: Start, collector: OtlpReceiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So short that the exporter, which tries for ten seconds, cannot be done by then.
    monkeypatch.setattr(otlp_tracer, "_LAST_EXPORT", 0.1)
    collector.stop()
    tracer = start(OTEL_BSP_SCHEDULE_DELAY="60000")
    span, _ = tracer.enter(None, "request")
    assert span is not None
    span.end()
    started = time.monotonic()
    tracer.stop()
    assert time.monotonic() - started < 9
    assert "opentelemetry" not in caplog.text
