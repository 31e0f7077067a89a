"""Tracing of a process: on if the environment names an endpoint, with the standard variables of OpenTelemetry."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from contracts.tracing import spans
from infra.operator_errors import OperatorError

log = logging.getLogger(__name__)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


class BadTelemetry(OperatorError):
    """A variable of OpenTelemetry has an invalid value."""


@contextmanager
def process_tracing(service: str, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Traces the process while the context is open, if the environment asks for it; exports the last spans at its end.

    Raises:
        BadTelemetry: a variable has an invalid value.
    """
    if not is_wanted(environ):
        yield
        return
    # Imported here: a process that does not trace does not load the library.
    from infra.telemetry.otlp_tracer import OtlpTracer

    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise BadTelemetry(f"traces are exported by {_PROTOCOL}, and not by {protocol}")
    try:
        tracer = OtlpTracer(service)
    except ValueError as error:
        raise BadTelemetry(f"a variable of OpenTelemetry is invalid: {error}") from error
    spans.install(tracer)
    try:
        yield
    finally:
        spans.install(None)
        tracer.stop()


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names an endpoint and does not disable tracing."""
    return (
        any(environ.get(name) for name in _ENDPOINTS)
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "none"
    )
