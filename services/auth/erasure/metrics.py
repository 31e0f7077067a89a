"""Metric of erasures that are overdue."""

from prometheus_client import Gauge

OVERDUE = Gauge(
    "vestnik_erasures_overdue_seconds",
    "Since when the oldest erasure is due and not done, or done and not complete; without those that a hold stops.",
)
