"""Metrics of the newest-page cache."""

from prometheus_client import Counter, Gauge

READS = Counter(
    "vestnik_newest_pages_read",
    "Reads of a conversation's newest page, by source: cached or rebuilt.",
    ("outcome",),
)
KEPT_BYTES = Gauge("vestnik_newest_pages_kept_bytes", "Approximate memory used by cached pages.")
FOUND, MADE = READS.labels("kept"), READS.labels("made")
