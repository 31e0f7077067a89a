"""Waits until a read model has reached a position."""
