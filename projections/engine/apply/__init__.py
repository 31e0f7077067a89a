"""Applies events: runs the handlers, merges their row changes, writes them as SQL."""
