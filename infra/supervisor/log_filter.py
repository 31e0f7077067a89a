"""Filters the servers' log lines: warnings and worse are shown; with log level debug, all of them."""

from collections.abc import Callable

LOUD = {
    "nats": ("[WRN]", "[ERR]", "[FTL]", "nats-server:"),
    "postgres": ("WARNING:", "ERROR:", "FATAL:", "PANIC:"),
}

# Harmless: only the owner can read the file with the password, and the server listens on the loopback address.
KNOWN = "Plaintext passwords detected"


def is_worth_logging(server: str, everything: bool) -> Callable[[str], bool]:
    """A predicate that tells whether a line of the server is shown."""
    marks = LOUD[server]
    return lambda line: everything or (KNOWN not in line and any(mark in line for mark in marks))
