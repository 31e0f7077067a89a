"""Request metrics for Prometheus, by route template and status."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from services.gateway.observability.counters import LocalHistogram

MEDIA_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Template of requests that match no route, so that unknown paths create no series.
UNMATCHED = "(none)"
# Template of all files of the web messenger.
WEB = "(web)"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Metrics:
    """Metrics registry of one gateway process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._answers = _Answers()
        self.registry.register(self._answers)
        self.running = Gauge("vestnik_http_requests_running", "Requests at work.", registry=self.registry)
        self._dependency_up = Gauge(
            "vestnik_dependency_up",
            "1 while a part that this process depends on answers, 0 otherwise.",
            ("dependency",),
            registry=self.registry,
        )
        self.certificate_expiry = Gauge(
            "vestnik_certificate_expiry_timestamp_seconds",
            "When the first certificate in a file expires; no number if the file cannot be read.",
            ("certificate",),
            registry=self.registry,
        )
        self._rate_limited = Counter(
            "vestnik_rate_limited", "Requests that found a rate limit exhausted.", ("limit",), registry=self.registry
        )
        self.profile_cache = Counter(
            "vestnik_profile_cache", "Profile reads by source of the answer.", ("outcome",), registry=self.registry
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        self._answers.add(method if method in _METHODS else "OTHER", route, status, seconds)

    def report_dependency(self, name: str, answers: Callable[[], bool]) -> None:
        """Exports whether the dependency answers; `answers` is called at each scrape."""
        self._dependency_up.labels(name).set_function(lambda: float(answers()))

    def limited(self, limit: str) -> None:
        """Counts a request that found the limit of this name exhausted."""
        self._rate_limited.labels(limit).inc()

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


class _Answers(Collector):
    """Counts and durations of responses; methods, routes and statuses are few."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._durations: dict[tuple[str, str], LocalHistogram] = {}

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        series = method, route, status
        self._counts[series] = self._counts.get(series, 0) + 1
        durations = self._durations.get((method, route))
        if durations is None:
            durations = self._durations[method, route] = LocalHistogram(_BUCKETS)
        durations.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "vestnik_http_requests", "Requests answered.", labels=("method", "route", "status")
        )
        for (method, route, status), count in self._counts.items():
            requests.add_metric((method, route, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily(
            "vestnik_http_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            labels=("method", "route"),
        )
        for labels, durations in self._durations.items():
            durations.add_to(seconds, labels)
        yield seconds
