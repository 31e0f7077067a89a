"""Registration and verification: decisions, address lookup and reserved usernames."""
