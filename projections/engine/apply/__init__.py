"""Applies events: handlers to row changes to SQL."""
