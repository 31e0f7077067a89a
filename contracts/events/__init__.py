"""The events, one module a kind. Public ones carry no secret; the private ones only their owner can read."""
