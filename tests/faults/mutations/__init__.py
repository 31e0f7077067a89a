"""Faults put into the product's source on purpose, each of which a short run must notice."""
