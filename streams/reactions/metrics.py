"""Prometheus metrics of the reactions of a process.

Attempts are those of this process. Lag, waiting and parked events are of the reaction as a whole, so every replica of
its service reports the same figures.
"""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter(
    "vestnik_reaction_attempts",
    "Attempts by outcome: done, failed, waiting (for its turn, such as a mailbox's next hour) or parked.",
    ("reaction", "outcome"),
)
SECONDS = Histogram(
    "vestnik_reaction_attempt_duration_seconds",
    "Seconds of an attempt.",
    ("reaction",),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0),
)
LAG = Gauge("vestnik_reaction_lag_events", "Events that no process has attempted yet.", ("reaction",))
WAITING = Gauge(
    "vestnik_reaction_waiting", "Events that wait for their next attempt, or are attempted now.", ("reaction",)
)
PARKED = Gauge("vestnik_reaction_parked_events", "Events that are parked until an operator acts.", ("reaction",))
