"""`./just new-projection NAME [--query]`: creates a read model, and what shows it to clients."""
