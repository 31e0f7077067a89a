"""Caches of service responses: profiles and message pages."""
