"""Starlette middleware and exception handlers."""
