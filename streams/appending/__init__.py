"""How events are appended: sent with their conditions, and settled when the outcome of an attempt is unknown."""
