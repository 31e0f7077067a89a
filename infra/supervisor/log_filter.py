"""Which lines of the servers belong in the one log: warnings and worse; with log level debug, all of them."""

from collections.abc import Callable

LOUD = {
    "nats": ("[WRN]", "[ERR]", "[FTL]", "nats-server:"),
    "postgres": ("WARNING:", "ERROR:", "FATAL:", "PANIC:"),
}

# The file that holds the password is the owner's alone, and the server listens on the loopback address.
KNOWN = "Plaintext passwords detected"


def is_worth_logging(server: str, everything: bool) -> Callable[[str], bool]:
    """Tells whether a line of the server's is shown."""
    marks = LOUD[server]
    return lambda line: everything or (KNOWN not in line and any(mark in line for mark in marks))
