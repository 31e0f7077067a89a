"""Writes batches to PostgreSQL: statements, the transaction, and the search for rows that it refuses."""
