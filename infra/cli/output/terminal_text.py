"""Text that comes from clients, made fit for a terminal: it must not steer it."""

import json


def printable(text: str) -> str:
    """The text with every character that is not printable as the escape that JSON has for it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
