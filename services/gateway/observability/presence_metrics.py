"""Metrics of typing and presence."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PresenceMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "vestnik_presence_messages",
            "Messages sent to all gateways over plain NATS.",
            ("subject",),
            registry=registry,
        )
        self._bytes = Counter(
            "vestnik_presence_message_bytes",
            "Bytes of messages sent to all gateways over plain NATS.",
            ("subject",),
            registry=registry,
        )
        self.typing = Counter("vestnik_typing_notices", "Typing notices of clients.", ("outcome",), registry=registry)
        self.users = Gauge("vestnik_presence_users", "Users known to be online.", ("at",), registry=registry)
        self.gateways = Gauge("vestnik_presence_gateways", "Other gateways that are heard from.", registry=registry)
        self.events = Counter("vestnik_presence_events", "Presence events delivered to clients.", registry=registry)
        self.last_seen = Counter(
            "vestnik_last_seen_writes", "Writes of when a user was last online.", ("outcome",), registry=registry
        )

    def sent(self, subject: str, size: int) -> None:
        self._messages.labels(subject).inc()
        self._bytes.labels(subject).inc(size)
