"""Merges the row changes of a batch into one change per row."""
