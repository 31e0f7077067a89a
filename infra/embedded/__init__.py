"""The real NATS server and the real PostgreSQL, run from the project's own Python dependencies."""
