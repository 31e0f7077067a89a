"""Commands on read models and their dead letters."""
