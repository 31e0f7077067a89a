"""Metrics of the newest-page cache."""

from prometheus_client import Counter, Gauge

READS = Counter(
    "vestnik_newest_pages_read",
    "Newest pages of conversations that were read, by where they came from: kept, or made anew.",
    ("outcome",),
)
KEPT_BYTES = Gauge("vestnik_newest_pages_kept_bytes", "Memory that kept pages take, about.")
FOUND, MADE = READS.labels("kept"), READS.labels("made")
