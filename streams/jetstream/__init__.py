"""The JetStream protocol: client, requests, consumers."""
