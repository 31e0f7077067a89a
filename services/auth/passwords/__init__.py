"""Passwords: hashing, changes and resets, and the check for weak ones."""
