"""Keys, secrets and permissions at NATS and PostgreSQL."""
