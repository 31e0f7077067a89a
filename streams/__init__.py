"""JetStream as an event store, independent of the domain: events, conditions, aggregates and streams, but no users."""
