"""The tracer of a process, on OpenTelemetry's SDK: its sampler, its spans, its batches, its exporter."""

import importlib.metadata
import threading

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from contracts.tracing.spans import Span, SpanKind
from contracts.tracing.traceparent import format_traceparent, not_sampled, parse
from infra.telemetry.span_export import QuietExporter

# Seconds for the last export of a process that stops.
_LAST_EXPORT = 2.0
_KINDS = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
_NO_PARENT = Context()
_PACKAGE = "vestnik"


class OtlpTracer:
    """Creates spans, and exports them in a thread of its own."""

    def __init__(self, service: str) -> None:
        """
        Raises:
            ValueError: an environment variable has an invalid value.
        """
        version = importlib.metadata.version(_PACKAGE)
        self._ids = _TraceIds()
        provider = TracerProvider(resource=_resource(service, version), shutdown_on_exit=False, id_generator=self._ids)
        self._exporter = QuietExporter(OTLPSpanExporter())
        self._processor = BatchSpanProcessor(self._exporter)
        provider.add_span_processor(self._processor)
        self._sampler = provider.sampler
        self._tracer = provider.get_tracer(_PACKAGE, version)

    def enter(self, traceparent: str | None, name: str) -> tuple[Span | None, str | None]:
        if traceparent is None:
            parent, trace_id = _NO_PARENT, self._ids.prepare()
        else:
            parent, trace_id = _context(traceparent), parse(traceparent).trace_id
        # The sampler alone: a span that is not recorded costs several times as much.
        if (
            self._sampler.should_sample(parent, trace_id, name, trace.SpanKind.SERVER).decision
            is not Decision.RECORD_AND_SAMPLE
        ):
            return None, None if traceparent is None else not_sampled(traceparent)
        span = _RecordedSpan(self._tracer.start_span(name, parent, trace.SpanKind.SERVER))
        return span, span.traceparent

    def child(self, traceparent: str, kind: SpanKind, name: str, began: int | None) -> Span | None:
        try:
            parent = _context(traceparent)
        except ValueError:
            return None
        span = self._tracer.start_span(name, parent, _KINDS[kind], start_time=began)
        return _RecordedSpan(span) if span.is_recording() else None

    def stop(self) -> None:
        """Exports the last spans, within a bound: a collector that does not answer does not delay the stop further."""
        exporting = threading.Thread(target=self._processor.shutdown, name="last export of spans", daemon=True)
        exporting.start()
        exporting.join(_LAST_EXPORT)
        if exporting.is_alive():
            self._exporter.shutdown()


class _RecordedSpan:
    __slots__ = ("_span", "traceparent")

    def __init__(self, span: trace.Span) -> None:
        context = span.get_span_context()
        self._span = span
        self.traceparent = format_traceparent(context.trace_id, context.span_id, context.trace_flags)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attribute: str, value: str | int) -> None:
        self._span.set_attribute(attribute, value)

    def link(self, traceparent: str) -> None:
        self._span.add_link(_span_context(traceparent))

    def end(self, error: str = "") -> None:
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class _TraceIds(RandomIdGenerator):
    """Trace ids; the next one is known in advance, since the sampler decides by the id before there is a span."""

    def __init__(self) -> None:
        self._next = super().generate_trace_id()

    def prepare(self) -> int:
        """The trace id of the next trace."""
        self._next = super().generate_trace_id()
        return self._next

    def generate_trace_id(self) -> int:
        return self._next


def _context(traceparent: str) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(_span_context(traceparent)), _NO_PARENT)


def _span_context(traceparent: str) -> SpanContext:
    parent = parse(traceparent)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(parent.flags))


def _resource(service: str, version: str) -> Resource:
    """The process's attributes from the environment; the service is `vestnik-<service>` unless it names it."""
    resource = Resource.create()
    defaults = {SERVICE_VERSION: version}
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        return resource.merge(Resource({**defaults, SERVICE_NAME: f"{_PACKAGE}-{service}"}))
    return Resource(defaults).merge(resource)
