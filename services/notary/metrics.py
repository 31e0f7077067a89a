"""Metrics of the notary, by stream."""

from prometheus_client import Counter, Gauge

UNSIGNED_EVENTS = Gauge(
    "vestnik_notary_unsigned_events", "Events of a stream that no signed head covers yet.", ("stream",)
)
UNSIGNED_SECONDS = Gauge(
    "vestnik_notary_unsigned_seconds",
    "Seconds since signed heads covered all events that a stream had.",
    ("stream",),
)
BROKEN = Gauge(
    "vestnik_notary_tree_failed",
    "1 while no head of a stream can be signed, because the stream lacks events that an operator has not accepted as "
    "lost, or has others than were signed.",
    ("stream",),
)
HEADS = Counter("vestnik_notary_heads", "Tree heads signed and stored.", ("stream",))
ENDS = Counter("vestnik_notary_tree_ends", "Ends of trees signed and stored.", ("stream", "reason"))
PUBLISHED = Counter("vestnik_notary_records_published", "Signed records written to the folder of heads.")
PUBLICATION_UP = Gauge(
    "vestnik_notary_publication_up",
    "0 while signed records cannot be written to the folder of heads, 1 otherwise, also without such a folder.",
)
PUBLICATION_UP.set(1)
