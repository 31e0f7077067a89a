"""Prometheus metrics written by a single thread: plain numbers without locks.

The library's own take a lock per increment, which is a good part of what a request costs.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry


class LocalHistogram:
    """Histogram of durations in seconds."""

    __slots__ = ("_bounds", "_counts", "_seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds`: ascending upper bounds of the buckets, in seconds; the last bucket has none."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds the histogram to the family as one series."""
        buckets, below = [], 0
        for bound, count in zip((*map(str, map(float, self._bounds)), "+Inf"), self._counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets, self._seconds)


class HistogramCollector(Collector):
    """A histogram without labels, registered as a metric of its own."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._durations = LocalHistogram(bounds)
        self.observe = self._durations.observe
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation)
        self._durations.add_to(family, ())
        yield family


class LocalCounter(Collector):
    """A counter without labels."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._value = 0
        registry.register(self)

    def add(self, more: int) -> None:
        self._value += more

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._documentation)
        family.add_metric((), self._value)
        yield family
