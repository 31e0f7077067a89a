"""Metrics of live delivery."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.gateway.observability.counters import HistogramCollector, LocalCounter

_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class LiveMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge("vestnik_live_clients", "Open live connections.", ("kind",), registry=registry)
        self._ended = Counter(
            "vestnik_live_clients_ended", "Ended live connections.", ("kind", "reason"), registry=registry
        )
        self.delivered = LocalCounter("vestnik_live_events", "Events delivered to clients.", registry)
        self._lag = HistogramCollector(
            "vestnik_live_lag_seconds",
            "Seconds from an event to its delivery to the clients' buffers.",
            _LAG_BUCKETS,
            registry,
        )

    def opened(self, kind: str) -> None:
        self._open.labels(kind).inc()

    def ended(self, kind: str, reason: str) -> None:
        self._open.labels(kind).dec()
        self._ended.labels(kind, reason).inc()

    def observe_lag(self, lag: float) -> None:
        self._lag.observe(max(lag, 0.0))
