"""Checks that today's event schemas do not break readers of released ones."""
