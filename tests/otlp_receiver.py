"""A collector of traces: receives OTLP over HTTP, as the processes export it, and keeps the spans."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Span(msgspec.Struct, frozen=True):
    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    # Empty for the root of a trace.
    parent_id: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, str | int]
    links: tuple[str, ...]


class OtlpReceiver:
    """Listens on a port of the loopback until it is stopped."""

    def __init__(self, *, status: int = 200) -> None:
        """`status`: what it answers with."""
        self.spans: list[Span] = []
        # The headers of the last request.
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.headers = {"path": self.path, **{name.lower(): value for name, value in self.headers.items()}}
                receiver.spans += _spans(ExportTraceServiceRequest.FromString(body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def of_trace(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def stop(self) -> None:
        """Refuses connections from now on."""
        self._server.shutdown()
        self._server.server_close()


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        _span(
            span,
            next(one.value.string_value for one in resource_spans.resource.attributes if one.key == "service.name"),
        )
        for resource_spans in request.resource_spans
        for scope in resource_spans.scope_spans
        for span in scope.spans
    ]


def _span(span: ProtoSpan, service: str) -> Span:
    return Span(
        service=service,
        name=span.name,
        kind=ProtoSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes={
            one.key: one.value.int_value if one.value.HasField("int_value") else one.value.string_value
            for one in span.attributes
        },
        links=tuple(link.span_id.hex() for link in span.links),
    )
