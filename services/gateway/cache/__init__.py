"""Caches of service responses: profiles, message pages and mutes."""
