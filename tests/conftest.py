"""The fixtures live in small plug-in modules, one a server."""

pytest_plugins = [
    "tests.fix_cluster",
    "tests.fix_nats",
    "tests.fix_older_events",
    "tests.fix_postgres",
    "tests.fix_system",
]
