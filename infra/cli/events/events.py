"""`vestnik events`: shows events, read from the streams."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TextIO

import click
import msgspec

from contracts import catalogue
from contracts.subjects import STREAMS
from infra.cli.output.terminal_text import printable
from infra.cli.params import Moment
from infra.history.event_history import EventQuery, EventView, Undecodable, select_events
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import find
from infra.settings import Settings

# Most bytes shown of a message that cannot be decoded.
_SHOWN_BYTES = 1_000
_COLOURS = {
    "auth": "yellow",
    "session": "magenta",
    "profile": "blue",
    "contact": "green",
    "messaging": "cyan",
    "operator": "red",
}


class Aggregate(click.ParamType[str]):
    """An aggregate's id: the end of its subject, without wildcards or white space."""

    name = "aggregate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text or set(text) & set("*> \t\r\n") or "" in text.split("."):
            self.fail(f"{text!r} is no aggregate's id", param, ctx)
        return text


@click.command()
@click.option(
    "--stream", "stream_name", type=click.Choice(list(STREAMS), case_sensitive=False), help="Only this stream."
)
@click.option("--type", "event_type", metavar="TYPE", help="Only events of this type, as `message.sent`.")
@click.option("--id", "aggregate_id", type=Aggregate(), help="Only events of this aggregate.")
@click.option(
    "--since", type=Moment(), help="Only from this time on: RFC 3339 (UTC if it names no zone), or `15m` ago."
)
@click.option("--until", type=Moment(), help="Only before this time.")
@click.option("--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("--raw", is_flag=True, help="Show older events as they are stored, not brought to today's shape.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def events(
    stream_name: str | None,
    event_type: str | None,
    aggregate_id: str | None,
    since: datetime | None,
    until: datetime | None,
    follow: bool,
    raw: bool,
    as_json: bool,
) -> None:
    """Shows events, in the order of their times; each stream's own order is kept. Private events come without data.

    Events that were stored in an older shape are shown in today's, unless --raw is given. What cannot be read as an
    event is shown as bytes, with its place and the reason; on a private subject without the bytes.
    """
    if event_type is not None and event_type not in catalogue.EVENTS:
        known = ", ".join(sorted(catalogue.EVENTS))
        raise click.BadParameter(f"{event_type!r} is none of {known}", param_hint="--type")
    if follow and until is not None:
        raise click.UsageError("--follow has no end: leave out --until")
    query = EventQuery(
        streams=(stream_name.upper(),) if stream_name else tuple(STREAMS),
        type=event_type,
        aggregate_id=aggregate_id,
        since=since,
        until=until,
        follow=follow,
        raw=raw,
    )
    output = sys.stdout
    asyncio.run(_run(Settings.load(), query, output, _json_line if as_json else _line(output.isatty())))


async def _run(
    settings: Settings, query: EventQuery, output: TextIO, render: Callable[[EventView | Undecodable], str]
) -> None:
    url = settings.nats_url or find(settings.data_dir).nats_url
    nc = await connect_nats(msgspec.structs.replace(settings, nats_url=url), "operator-events", patience=5.0)
    try:
        async with aclosing(select_events(nc, query)) as pages:
            async for page in pages:
                output.write("".join(render(shown) + "\n" for shown in page))
                output.flush()
    finally:
        # The connection ends with the command: no warning is needed.
        logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
        await nc.close()


def _json_line(shown: EventView | Undecodable) -> str:
    return msgspec.json.encode(shown).decode()


def _line(coloured: bool) -> Callable[[EventView | Undecodable], str]:
    def line(shown: EventView | Undecodable) -> str:
        service = STREAMS[shown.stream]
        moment = shown.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        place = f"{shown.stream:>9} {shown.sequence:<8}"
        if isinstance(shown, Undecodable):
            kind, who, data = "(cannot be read)", shown.subject, f"{shown.error}: {_bytes(shown)}"
        else:
            kind, who = shown.type, f"{shown.aggregate_id} v{shown.version}"
            data = "(private)" if shown.is_private else bytes(shown.data).decode()
        what, who, data = f"{printable(kind):<27}", printable(who), printable(data)
        if not coloured:
            return f"{moment} {place} {what} {who}  {data}"
        colour = _COLOURS[service]
        return (
            f"{click.style(moment, dim=True)} {click.style(place, fg=colour)} {click.style(what, fg=colour, bold=True)}"
            f" {who}  {click.style(data, dim=True)}"
        )

    return line


def _bytes(message: Undecodable) -> str:
    if message.payload is None:
        return f"{message.size:,} private bytes"
    more = "" if message.size <= _SHOWN_BYTES else f"… {message.size:,} bytes"
    return f"{message.payload[:_SHOWN_BYTES]!r}{more}"
