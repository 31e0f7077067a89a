"""Tables, builds, checkpoints and dead letters in PostgreSQL."""
