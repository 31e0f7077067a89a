"""Warnings about a collector that does not take spans."""

import logging
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infra.telemetry.span_export import QuietExporter


class Away(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        logging.getLogger(__name__).error("each attempt")
        return SpanExportResult.FAILURE


def test_it_warns_once_a_minute_of_all_that_was_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("infra.telemetry.span_export.time.monotonic", lambda: clock[0])
    exporter = QuietExporter(Away())
    try:
        for seconds in (0, 5, 59, 60):
            clock[0] = float(seconds)
            assert exporter.export([ReadableSpan("a"), ReadableSpan("b")]) is SpanExportResult.FAILURE
    finally:
        logging.getLogger(__name__).disabled = False
    assert [record.getMessage() for record in caplog.records] == [
        "the collector of traces does not take spans: 2 are lost",
        "the collector of traces does not take spans: 6 are lost",
    ]
