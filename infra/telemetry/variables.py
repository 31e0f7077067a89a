"""The variables of OpenTelemetry that hold here, for the reference; the SDK reads them itself."""

from typing import NamedTuple


class Variable(NamedTuple):
    name: str
    default: str
    meaning: str


VARIABLES = (
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "The collector, such as `http://collector:4318`; `/v1/traces` is added. Empty: nothing is traced. "
        "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is the whole URL instead.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_HEADERS", "", "Headers of each export: `name=value`, comma-separated, as for a credential."
    ),
    Variable("OTEL_EXPORTER_OTLP_CERTIFICATE", "", "PEM file of the authorities of the collector's certificate."),
    Variable("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "", "PEM file of a client certificate for the collector."),
    Variable("OTEL_EXPORTER_OTLP_CLIENT_KEY", "", "PEM file of its key."),
    Variable("OTEL_EXPORTER_OTLP_COMPRESSION", "none", "`gzip`, `deflate` or `none`."),
    Variable("OTEL_EXPORTER_OTLP_TIMEOUT", "10", "Seconds for which an export is tried."),
    Variable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "No other protocol is possible."),
    Variable(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "Which requests are traced: `always_on`, `always_off`, `traceidratio`, or the same with `parentbased_` before "
        "it, for which the `traceparent` of a client decides if it sends one.",
    ),
    Variable("OTEL_TRACES_SAMPLER_ARG", "1.0", "The ratio of the traces that `traceidratio` samples: `0.01` is 1 %."),
    Variable("OTEL_TRACES_EXPORTER", "otlp", "`none`: nothing is traced."),
    Variable("OTEL_SDK_DISABLED", "false", "`true`: nothing is traced."),
    Variable("OTEL_SERVICE_NAME", "vestnik-<service>", "The service's name in traces."),
    Variable("OTEL_RESOURCE_ATTRIBUTES", "", "Attributes of the process: `name=value`, comma-separated."),
    Variable("OTEL_BSP_SCHEDULE_DELAY", "5000", "Milliseconds between two exports."),
    Variable("OTEL_BSP_MAX_QUEUE_SIZE", "2048", "Spans that wait for their export; more are dropped."),
    Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", "Spans in one export."),
)
