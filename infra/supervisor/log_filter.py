"""Filters the servers' log lines: warnings and worse are shown; with log level debug, all of them."""

from collections.abc import Callable

# The levels of the lines with these marks.
LOUD = {
    "nats": {"[WRN]": "WARNING", "[ERR]": "ERROR", "[FTL]": "CRITICAL", "nats-server:": "ERROR"},
    "postgres": {"WARNING:": "WARNING", "ERROR:": "ERROR", "FATAL:": "CRITICAL", "PANIC:": "CRITICAL"},
}

# Harmless: only the owner can read the file with the password, and the server listens on the loopback address.
KNOWN = "Plaintext passwords detected"


def is_worth_logging(server: str, everything: bool) -> Callable[[str], bool]:
    """A predicate that tells whether a line of the server is shown."""
    marks = LOUD[server]
    return lambda line: everything or (KNOWN not in line and any(mark in line for mark in marks))


def level_of(name: str, line: str) -> str:
    """The level of a line of a server; INFO for all others."""
    return next((level for mark, level in LOUD.get(name, {}).items() if mark in line), "INFO")
