"""Finds duplicates: messages sent before with the same client_message_id."""
