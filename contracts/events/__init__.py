"""The event types, one module per kind. Public events carry no secrets; only their owner can read private ones."""
