"""Applies events one after the other to rows that are loaded first."""
