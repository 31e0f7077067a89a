"""Metric of keys that legal holds keep."""

from prometheus_client import Gauge

HELD = Gauge("vestnik_retention_held_keys", "Keys that are due to end and that a legal hold keeps, at the last sweep.")
