"""`vestnik verify --streams`: reads every event of the streams and checks that the history is whole."""

import sys
from collections.abc import Sequence

import msgspec
import uvloop
from nats.aio.client import Client as NATS
from rich.console import Console

from contracts.errors import Unavailable
from infra.archive.format.unreadable_events import Accepted
from infra.archive.stream_access import Store, reach
from infra.archive.stream_verification import StreamVerdict, verify_stream
from infra.checkpoints import highest_at
from infra.cli.actions.recording import acting
from infra.cli.output import tables
from infra.cli.output.progress_bar import Bar
from infra.cli.output.tables import literal
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import NotRunning, with_running_addresses
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.dead_letters import discards
from streams.topology import StreamMissing


class StreamVerdicts(msgspec.Struct, frozen=True):
    # Whether nothing is wrong with any of the streams.
    sound: bool
    # Whether the ends of the streams were compared with what the read models have applied.
    compared_with_read_models: bool
    streams: list[StreamVerdict]


def verify_streams(streams: Sequence[str], *, as_json: bool) -> None:
    """Prints what is found; the system may be running or stopped.

    Raises:
        SystemExit: something is wrong with a stream; the exit code is 1.
    """
    console = tables.console(stderr=True)
    verdicts = uvloop.run(_run(Settings.load(), streams, console))
    if as_json:
        sys.stdout.write(msgspec.json.encode(verdicts).decode() + "\n")
    else:
        _print(verdicts, console)
    if not verdicts.sound:
        sys.exit(1)


async def _run(settings: Settings, streams: Sequence[str], console: Console) -> StreamVerdicts:
    async with reach(settings, make=False) as store:
        nc = await connect_nats(store.settings, "operator-verify-streams", patience=5.0)
        try:
            async with acting(store.settings, nc, "streams.verify", target=",".join(streams)) as act:
                # Read before the streams, which grow, and their read models with them.
                known = await _known(store, streams)
                discarded, ids = await _discarded(nc), set[int]()
                verdicts = []
                for stream in streams:
                    with Bar(console, stream, "events") as bar:
                        verdicts.append(
                            await verify_stream(
                                nc, stream, bar.move, ids=ids, known=(known or {}).get(stream, 0), discarded=discarded
                            )
                        )
                faults = sum(verdict.faults for verdict in verdicts)
                if faults:
                    act.ends("failed", f"{faults} faults")
        finally:
            await nc.close()
    return StreamVerdicts(not faults, known is not None, verdicts)


async def _known(store: Store, streams: Sequence[str]) -> dict[str, int] | None:
    """The highest sequence of each stream that a read model has applied; None if there is no database that answers."""
    if store.alone:
        return None
    try:
        schemas = await ServiceSchemas.discover(with_running_addresses(store.settings).database_url)
        return {stream: max([await highest_at(url, stream) for url in schemas.urls()]) for stream in streams}
    except (NotRunning, Unavailable):
        return None


async def _discarded(nc: NATS) -> Accepted:
    """Returns a predicate: whether operators have discarded the event at this sequence from a read model."""
    try:
        discarded = {(discard.stream, discard.sequence) for discard in await discards.recorded(nc)}
    except StreamMissing:
        # The data directory is older than this stream.
        discarded = set()
    return lambda stream, sequence: (stream, sequence) in discarded


def _print(verdicts: StreamVerdicts, console: Console) -> None:
    for verdict in verdicts.streams:
        accepted = f"; accepted as lost: {verdict.lost_accepted:,}" if verdict.lost_accepted else ""
        figures = (
            f"{verdict.events:,} events of {verdict.aggregates:,} aggregates, {verdict.seconds:,.1f} s"
            f" ({verdict.events_per_second:,.0f} events/s){accepted}"
        )
        if verdict.sound:
            console.print(f"[green]{verdict.stream}[/] sound: {figures}", soft_wrap=True)
            continue
        console.print(f"[red]{verdict.stream}[/] has {verdict.faults:,} faults: {figures}", soft_wrap=True)
        for fault in verdict.named:
            console.print(f"  {literal(str(fault))}", soft_wrap=True, highlight=False)
        if verdict.faults > len(verdict.named):
            console.print(f"  and {verdict.faults - len(verdict.named):,} more")
    if not verdicts.sound:
        console.print("see docs/runbooks/lost-events.md#what-a-verification-names", soft_wrap=True)
    if not verdicts.compared_with_read_models:
        console.print("[yellow]not compared with read models[/], so that events lost at an end are not noticed")
