"""Compares a read model with its streams, and shows it as of a past position."""
