"""A writer of events, and runners that stop with the test."""

from tests.integration.projections.conftest import run, writer

__all__ = ["run", "writer"]
