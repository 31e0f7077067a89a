"""A user's own messages in conversations that are closed."""
