from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest

from services.gateway.observability.counters import HistogramCollector, LocalCounter
from services.gateway.observability.metrics import Metrics

BOUNDS = (0.001, 0.25, 1.0)
SECONDS = (0.0, 0.001, 0.0011, 0.25, 0.9, 1.0, 7.0)


def lines(exposition: bytes) -> set[str]:
    """The exported lines of the values; the library adds the creation time of a series."""
    return {line for line in exposition.decode().splitlines() if "_created" not in line}


def test_durations_are_shown_as_by_the_library() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = HistogramCollector("lag_seconds", "How late.", BOUNDS, ours)
    histogram = Histogram("lag_seconds", "How late.", buckets=BOUNDS, registry=theirs)
    for seconds in SECONDS:
        durations.observe(seconds)
        histogram.observe(seconds)
    assert lines(generate_latest(ours)) == lines(generate_latest(theirs))


def test_a_count_only_grows() -> None:
    registry = CollectorRegistry()
    count = LocalCounter("events", "Events.", registry)
    for more in (1, 0, 3):
        count.add(more)
    assert "events_total 4.0" in lines(generate_latest(registry))


def test_requests_are_counted_by_method_route_and_status() -> None:
    metrics = Metrics()
    metrics.answered("GET", "/v1/x", 200, 0.002)
    metrics.answered("GET", "/v1/x", 200, 0.3)
    metrics.answered("GET", "/v1/x", 404, 0.0)
    metrics.answered("BREW", "(none)", 405, 0.0)
    rows = lines(metrics.exposition())
    assert 'vestnik_http_requests_total{method="GET",route="/v1/x",status="200"} 2.0' in rows
    assert 'vestnik_http_requests_total{method="GET",route="/v1/x",status="404"} 1.0' in rows
    assert 'vestnik_http_requests_total{method="OTHER",route="(none)",status="405"} 1.0' in rows
    assert 'vestnik_http_request_seconds_bucket{le="0.0025",method="GET",route="/v1/x"} 2.0' in rows
    assert 'vestnik_http_request_seconds_count{method="GET",route="/v1/x"} 3.0' in rows
