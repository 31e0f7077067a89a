"""Search in a user's own messages."""
