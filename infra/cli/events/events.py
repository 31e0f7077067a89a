"""`vestnik events`: shows events, read from the streams."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import TextIO

import click
import msgspec

from contracts import catalogue
from contracts.subjects import STREAMS
from contracts.values.timestamps import rfc3339
from infra.cli.actions.recording import look
from infra.cli.output.event_lines import event_line
from infra.cli.params import Moment
from infra.cli.reader_connection import connect_reader
from infra.history.event_history import EventQuery, EventView, Undecodable, select_events
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import find
from infra.settings import Settings
from services.operator.actions.domain import recorded_id


class Aggregate(click.ParamType[str]):
    """An aggregate's id: the end of its subject, without wildcards or white space."""

    name = "aggregate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text or set(text) & set("*> \t\r\n") or "" in text.split("."):
            self.fail(f"{text!r} is not the id of an aggregate", param, ctx)
        return text


@click.command()
@click.option(
    "--stream", "stream_name", type=click.Choice(list(STREAMS), case_sensitive=False), help="Only this stream."
)
@click.option("--type", "event_type", metavar="TYPE", help="Only events of this type, such as `message.sent`.")
@click.option("--id", "aggregate_id", type=Aggregate(), help="Only events of this aggregate.")
@click.option(
    "--since", type=Moment(), help="From this time on: RFC 3339 (UTC without a zone), or `15m` for 15 minutes ago."
)
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--follow", is_flag=True, help="Then print new events as they happen, until Ctrl-C.")
@click.option(
    "--raw", is_flag=True, help="Show events as stored: older ones without upcasting them, personal data sealed."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
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
    """Shows events in order of time; each stream's own order is kept. Private events are shown without data.

    Events stored with an older schema are upcast, unless --raw is given. A message that cannot be read as an event is
    shown as bytes, with its position and the reason; on a private subject without the bytes.
    """
    if event_type is not None and event_type not in catalogue.EVENTS:
        known = ", ".join(sorted(catalogue.EVENTS))
        raise click.BadParameter(f"{event_type!r} is not one of {known}", param_hint="--type")
    if follow and until is not None:
        raise click.UsageError("--follow and --until cannot be combined")
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
    asyncio.run(_run(Settings.load(), query, output, _json_line if as_json else event_line(output.isatty())))


async def _run(
    settings: Settings, query: EventQuery, output: TextIO, render: Callable[[EventView | Undecodable], str]
) -> None:
    url = settings.nats_url or find(settings.data_dir).nats_url
    # As stored means sealed, too.
    connect = connect_nats if query.raw else connect_reader
    nc = await connect(msgspec.structs.replace(settings, nats_url=url), "operator-events", patience=5.0)
    looked_for = {
        "stream": query.streams[0] if len(query.streams) == 1 else "",
        "type": query.type or "",
        "since": rfc3339(query.since) if query.since else "",
        "until": rfc3339(query.until) if query.until else "",
    }
    try:
        await look(settings, nc, "events", target=recorded_id(query.aggregate_id or ""), filter_=looked_for)
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
