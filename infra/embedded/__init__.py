"""Runs real NATS and PostgreSQL servers from the project's own Python dependencies."""
