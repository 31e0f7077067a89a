"""The metrics page, the alerts and the dashboards agree with the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase

import infra.rpc.clock_skew
import infra.runtime.service_process
import infra.security.certificate_expiry
import projections.engine.metrics
import services.auth.data_keys.metrics
import services.auth.erasure.metrics
import services.messaging.pages.metrics
import services.notary.metrics
import services.operator.anomalies.metrics
import streams.metrics
import streams.personal_data.metrics
import streams.reactions.metrics
import streams.reactions.retention_progress
from infra.devtools.dashboards.catalogue import DASHBOARDS
from services.gateway.observability.live_metrics import LiveMetrics
from services.gateway.observability.metrics import Metrics
from services.gateway.observability.presence_metrics import PresenceMetrics

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT = ROOT / "infra" / "deployment"
_ROW = re.compile(r"^\| `(vestnik_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
_LABEL_SETS = re.compile(r"by \(([a-z_, ]+)\)|\{(\w+)[=!]~?\"")


def families() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """All of Vestnik's metrics with their labels."""
    modules: tuple[ModuleType, ...] = (
        infra.rpc.clock_skew,
        projections.engine.metrics,
        streams.metrics,
        streams.personal_data.metrics,
        streams.reactions.metrics,
        streams.reactions.retention_progress,
        infra.runtime.service_process,
        infra.security.certificate_expiry,
        services.auth.data_keys.metrics,
        services.auth.erasure.metrics,
        services.messaging.pages.metrics,
        services.notary.metrics,
        services.operator.anomalies.metrics,
    )
    figures = (*modules, Metrics(), LiveMetrics(CollectorRegistry()), PresenceMetrics(CollectorRegistry()))
    for value in (value for holder in figures for value in vars(holder).values()):
        if isinstance(value, MetricWrapperBase):
            yield from ((family, value._labelnames) for family in value.describe())
        elif hasattr(value, "collect") and not isinstance(value, type | CollectorRegistry):
            for family in value.collect():
                assert isinstance(family, CounterMetricFamily | HistogramMetricFamily)
                yield family, family._labelnames


def documented_metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """All of Vestnik's metrics by the name under which they are scraped, with kind and labels."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (family.type, labels)
        for family, labels in families()
    }


def test_the_page_names_every_metric_with_its_kind_and_its_labels() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    written = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in _ROW.findall(page)}
    assert written == documented_metrics()


def test_names_are_as_prometheus_wants_them() -> None:
    counted = "anomalies|events|keys|letters|clients|users|gateways|leading|failed|paused|running|waiting|up"
    units = re.compile(rf"_(seconds|bytes|total|ratio|{counted})$")
    assert [name for name in documented_metrics() if not units.search(name)] == []


def assert_exist(queries: str) -> None:
    """The queries name only metrics and labels that exist."""
    samples = set(documented_metrics())
    for name, (kind, _) in documented_metrics().items():
        if kind == "histogram":
            samples |= {f"{name}_{part}" for part in ("bucket", "count", "sum")}
    assert set(re.findall(r"\bvestnik_\w+", queries)) <= samples
    labels = {label for _, own in documented_metrics().values() for label in own} | {"le", "job", "instance", "service"}
    used = {label.strip() for group in _LABEL_SETS.findall(queries) for part in group for label in part.split(",")}
    used |= {label for match in re.findall(r"\$labels\.(\w+)|\{\{(\w+)\}\}", queries) for label in match}
    assert used - {""} <= labels


def test_alerts_use_existing_metrics_only() -> None:
    assert_exist((DEPLOYMENT / "alerts.yml").read_text(encoding="utf-8"))


def test_dashboards_use_existing_metrics_only() -> None:
    panels = (panel for dashboard in DASHBOARDS for panel in dashboard.panels if not panel.exporter)
    assert_exist("\n".join(f"{query.expr} {query.legend}" for panel in panels for query in panel.queries))
