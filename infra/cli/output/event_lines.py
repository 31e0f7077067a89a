"""Shows an event as one line of text."""

from collections.abc import Callable
from datetime import UTC

import click

from contracts.subjects import STREAMS
from infra.cli.output.terminal_text import printable
from infra.history.event_history import EventView, Undecodable

# Most bytes shown of a message that cannot be decoded.
_SHOWN_BYTES = 1_000
_PALETTE = ("yellow", "magenta", "blue", "green", "cyan", "red", "white")
_COLOURS = {stream: _PALETTE[index % len(_PALETTE)] for index, stream in enumerate(STREAMS)}


def event_line(coloured: bool) -> Callable[[EventView | Undecodable], str]:
    """Returns a function that formats an event for a terminal, or for a file if not `coloured`."""

    def line(shown: EventView | Undecodable) -> str:
        moment = shown.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        position = f"{shown.stream:>9} {shown.sequence:<8}"
        if isinstance(shown, Undecodable):
            kind, who, data = "(cannot be read)", shown.subject, f"{shown.error}: {_bytes(shown)}"
        else:
            kind, who = shown.type, f"{shown.aggregate_id} v{shown.version}"
            data = "(private)" if shown.is_private else bytes(shown.data).decode()
        what, who, data = f"{printable(kind):<27}", printable(who), printable(data)
        if not coloured:
            return f"{moment} {position} {what} {who}  {data}"
        colour = _COLOURS[shown.stream]
        return (
            f"{click.style(moment, dim=True)} {click.style(position, fg=colour)}"
            f" {click.style(what, fg=colour, bold=True)} {who}  {click.style(data, dim=True)}"
        )

    return line


def _bytes(message: Undecodable) -> str:
    if message.payload is None:
        return f"{message.size:,} private bytes"
    more = "" if message.size <= _SHOWN_BYTES else f"… {message.size:,} bytes"
    return f"{message.payload[:_SHOWN_BYTES]!r}{more}"
