"""Logs of a service process: their formats, and where they go."""
