"""Loads the fixtures, which are in small plug-in modules, and gives each test worker its own ports."""

import os

from hypothesis import HealthCheck, settings

from infra.embedded import ports

pytest_plugins = [
    "tests.fix_cluster",
    "tests.fix_nats",
    "tests.fix_older_events",
    "tests.fix_postgres",
    "tests.fix_read_models",
    "tests.fix_system",
]

# No deadline: how long an example takes depends mostly on the machine.
settings.register_profile(
    "patient", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# Below the ports that the processes under test choose themselves.
LOWEST, HIGHEST = 12_000, ports.LOWEST


def pytest_configure() -> None:
    """Gives each worker of a run its own range of ports.

    A port is free until its server listens, and while the server restarts. Without separate ranges another worker, or
    a system that it has started, could choose the same port meanwhile.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (HIGHEST - LOWEST) // workers
    ports.LOWEST = LOWEST + number * share
    ports.HIGHEST = ports.LOWEST + share
