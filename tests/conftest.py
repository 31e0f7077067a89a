"""The fixtures live in small plug-in modules, one a server."""

import os

from infra.embedded import ports

pytest_plugins = [
    "tests.fix_cluster",
    "tests.fix_nats",
    "tests.fix_older_events",
    "tests.fix_postgres",
    "tests.fix_read_models",
    "tests.fix_system",
]


def pytest_configure() -> None:
    """Each of the workers that share a run takes its ports from a range of its own.

    A port is free until its server listens: another worker could choose the same in between.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (ports.HIGHEST - ports.LOWEST) // workers
    ports.LOWEST += number * share
    ports.HIGHEST = ports.LOWEST + share
