"""Export of spans that warns once a minute, and not at each attempt, while the collector does not take them."""

import logging
import time
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger(__name__)
# Seconds between two warnings.
_SILENCE = 60.0


class QuietExporter(SpanExporter):
    """Passes batches on to an exporter, which runs in a thread of the SDK. What the exporter logs is the reason."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self._warned = float("-inf")
        self._reasons = _Reasons()
        logger = logging.getLogger(type(exporter).__module__)
        logger.handlers, logger.propagate = [self._reasons], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._reasons.first = ""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            return result
        self._lost += len(spans)
        if time.monotonic() - self._warned >= _SILENCE:
            log.warning("the collector of traces does not take spans, %d are lost: %s", self._lost, self._reasons.first)
            self._lost, self._warned = 0, time.monotonic()
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Reasons(logging.Handler):
    """Keeps the first line: those that follow it are about further attempts."""

    first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()
