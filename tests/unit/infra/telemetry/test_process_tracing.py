"""When a process traces, by the variables of its environment."""

import socket
import subprocess
import sys

import pytest

from contracts.tracing import spans
from infra.telemetry.process_tracing import BadTelemetry, is_wanted, process_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_TRACES_SAMPLER": "always_on", "OTEL_SERVICE_NAME": "gateway"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/traces"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_it_is_on_if_an_endpoint_is_named_and_nothing_disables_it(environ: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environ) is wanted


def test_without_an_endpoint_no_process_loads_the_library() -> None:
    program = """
import importlib, sys
from contracts.services import REGISTRY
from contracts.tracing import spans
from infra.telemetry.process_tracing import process_tracing
import infra.cli.system.serve
for service in REGISTRY:
    importlib.import_module(f"services.{service}.main")
with process_tracing("messaging"):
    assert not spans.is_on()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={}, check=False)
    assert (completed.returncode, completed.stdout) == (0, "[]\n"), completed.stderr


def test_another_protocol_is_refused() -> None:
    environ = {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(BadTelemetry, match="grpc"), process_tracing("messaging", environ):
        pass


def test_an_invalid_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(BadTelemetry, match="max_queue_size"), process_tracing("messaging", ENDPOINT):
        pass
    assert not spans.is_on()


def test_it_is_on_until_the_process_ends() -> None:
    with process_tracing("messaging", ENDPOINT):
        assert spans.is_on()
    assert not spans.is_on()


def test_a_collector_that_never_answers_keeps_no_process_from_its_end() -> None:
    program = """
from contracts.tracing import spans
from infra.telemetry.process_tracing import process_tracing
with process_tracing("messaging"):
    span, _ = spans.enter(None, "request")
    span.end()
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            # The export alone would last for longer than the test waits.
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
        }
        completed = subprocess.run([sys.executable, "-c", program], env=environ, timeout=120, check=False)
    assert completed.returncode == 0
