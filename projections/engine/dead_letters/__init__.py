"""Operator actions on dead letters: list, retry, discard."""
