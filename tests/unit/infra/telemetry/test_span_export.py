"""Warnings about a collector that does not accept spans."""

import logging
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infra.telemetry.span_export import QuietExporter
from tests.otlp_receiver import OtlpReceiver


class UnreachableCollector(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for attempt in ("first", "second"):
            logging.getLogger(__name__).error("the %s attempt", attempt)
        return SpanExportResult.FAILURE


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (__name__, OTLPSpanExporter.__module__)]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == QuietExporter.__module__]


def test_it_warns_once_a_minute_of_all_that_was_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    # Only the module's clock: threads of the process need the real one.
    monkeypatch.setattr("infra.telemetry.span_export.time", SimpleNamespace(monotonic=lambda: clock[0]))
    exporter = QuietExporter(UnreachableCollector())
    for seconds in (0, 5, 59, 60):
        clock[0] = float(seconds)
        assert exporter.export([ReadableSpan("a"), ReadableSpan("b")]) is SpanExportResult.FAILURE
    assert _warnings(caplog) == [
        "the collector of traces does not take spans, 2 are lost: the first attempt",
        "the collector of traces does not take spans, 6 are lost: the first attempt",
    ]


def test_the_warning_says_what_the_collector_answered(caplog: pytest.LogCaptureFixture) -> None:
    receiver = OtlpReceiver(status=401)
    exporter = QuietExporter(OTLPSpanExporter(f"{receiver.url}/v1/traces"))
    try:
        assert exporter.export([]) is SpanExportResult.FAILURE
    finally:
        exporter.shutdown()
        receiver.stop()
    [warning] = _warnings(caplog)
    assert "401" in warning
