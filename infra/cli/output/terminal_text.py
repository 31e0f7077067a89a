"""Escapes text from clients, so that it cannot control the terminal."""

import json


def printable(text: str) -> str:
    """Replaces every character that is not printable with its JSON escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
