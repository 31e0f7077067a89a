"""Servers of the read models that clients are shown, one module each; found by their files."""
