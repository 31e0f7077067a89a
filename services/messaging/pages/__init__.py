"""Pages of conversations and messages as JSON, built once by the database and passed on to clients unchanged."""
