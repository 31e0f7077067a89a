"""Chores of an operator on the keys of personal data: backup, restore, overview."""
