"""Passwords: hashing, changes, weak ones."""
