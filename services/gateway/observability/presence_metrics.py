"""Metrics of typing and presence."""

from prometheus_client import CollectorRegistry, Counter


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

    def sent(self, subject: str, size: int) -> None:
        self._messages.labels(subject).inc()
        self._bytes.labels(subject).inc(size)
