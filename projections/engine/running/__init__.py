"""Runs the projections of a live process."""
