"""Loads the fixtures, which are in small plug-in modules, and gives each test worker its own ports."""

import logging
import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from infra.embedded import ports

pytest_plugins = [
    "tests.fix_cluster",
    "tests.fix_nats",
    "tests.fix_older_events",
    "tests.fix_postgres",
    "tests.fix_read_models",
    "tests.fix_system",
    "tests.suite.deadlines",
]

# No deadline: how long an example takes depends mostly on the machine.
settings.register_profile(
    "patient", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# Below the ports that the processes under test choose themselves.
LOWEST, HIGHEST = 12_000, ports.LOWEST
_PACKAGES = ("contracts", "infra", "projections", "services", "streams", "vestnik")


def pytest_configure() -> None:
    """Gives each worker of a run its own range of ports.

    A port is free until its server listens, and while the server restarts. Without separate ranges another worker, or
    a system that it has started, could choose the same port meanwhile.
    """
    # Two more than there are workers: the replacement of one that crashed has the next number, and meets its servers.
    ranges = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) + 2
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (HIGHEST - LOWEST) // ranges
    ports.LOWEST = LOWEST + number % ranges * share
    ports.HIGHEST = ports.LOWEST + share


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Restores the levels of loggers: a command that a test runs in this process sets them for the rest of its life."""
    before = _levels()
    try:
        return (yield)
    finally:
        for name, level in _levels().items():
            if level != before.get(name, logging.NOTSET):
                logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


def _levels() -> dict[str | None, int]:
    """Levels by name: of the root logger and of this project's loggers."""
    project_loggers = {
        name: logger for name, logger in logging.root.manager.loggerDict.items() if name.startswith(_PACKAGES)
    }
    return {None: logging.root.level} | {
        name: logger.level for name, logger in project_loggers.items() if isinstance(logger, logging.Logger)
    }
