"""The fixtures live in small plug-in modules, one a server."""

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

# How long an example takes says more of the machine than of what is tested.
settings.register_profile(
    "patient", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# Below those that the processes under test choose by themselves.
LOWEST, HIGHEST = 12_000, ports.LOWEST


def pytest_configure() -> None:
    """Each of the workers that share a run takes its ports from a range of its own.

    A port is free until its server listens, and while it restarts: another worker, or a system that another worker has
    started, could choose the same in between.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (HIGHEST - LOWEST) // workers
    ports.LOWEST = LOWEST + number * share
    ports.HIGHEST = ports.LOWEST + share
