"""Checks that the current event schemas do not break readers of released ones."""
