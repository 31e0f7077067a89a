"""Backfill of conversations for reconnecting clients."""
