"""Folds events into rows."""
