"""Typing and presence: what gateways tell each other over plain NATS, and what is stored in no stream."""
