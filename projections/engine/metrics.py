"""What a process says of the projections that it applies."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("vestnik_projection_events", "Events that a projection has read", ["projection"])
LAG = Gauge("vestnik_projection_lag", "Events that a projection has still to read", ["projection", "stream"])
BATCH = Histogram(
    "vestnik_projection_batch_events",
    "Events in a batch",
    ["projection"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000),
)
DEAD_LETTERS = Gauge(
    "vestnik_projection_dead_letters", "Aggregates with an event that cannot be applied", ["projection"]
)
