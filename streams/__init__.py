"""JetStream as an event store. Knows no domain: events, conditions, aggregates and streams, nothing of users."""
