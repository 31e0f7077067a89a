"""Notifications: listed, counted, marked as read, and backfilled for reconnecting clients."""
