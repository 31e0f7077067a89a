"""`vestnik streams accept-loss`: a stream goes on without the events that it has lost."""

import getpass
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop
from nats.aio.client import Client as NATS
from rich.console import Console

from contracts.errors import Unavailable
from contracts.subjects import STREAMS
from infra.archive.store import Store
from infra.checkpoints import highest_at
from infra.cli.parallel import each
from infra.cli.progress import Bars
from infra.connections import connect_nats
from infra.database_owners import Owners
from infra.failures import Failure
from infra.running import connected
from infra.secrets import TOPOLOGY
from infra.settings import Settings
from projections.engine.comparison import Difference
from projections.engine.projection import Projection
from projections.engine.rebuild import Rebuilt, rebuild
from projections.engine.verify import NotBuilt, verify
from projections.registry import choose
from streams import placeholders
from streams.inbox import RequestFailed
from streams.jetstream import JetStream, Refused
from streams.log import Log
from streams.loss_watch import lost
from streams.losses import Gap, accept, accepted, named, unaccepted


class NothingLost(Failure):
    """The stream has all its events, as far as anybody knows."""


class RowLost(msgspec.Struct, frozen=True):
    """A row of a read model that would be another, or none, by what the streams still say."""

    projection: str
    table: str
    # `extra`: there would be none; `changed`: it would have other values; `missing`: there would be one.
    kind: str
    key: dict[str, str | None]
    # Column to the present value and that without the events.
    columns: dict[str, tuple[str | None, str | None]]


class _Loss(msgspec.Struct, frozen=True):
    # Where the stream ends without what stands in the place of lost events.
    end: int
    # Lost between other events.
    within: list[Gap]
    # Lost at the end, with what may have been lost behind it.
    behind: Gap | None


@click.command("accept-loss")
@click.argument("stream", type=click.Choice(list(STREAMS)))
@click.option(
    "--rows",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the rows go that no event is left for; a new file in the working directory if left out.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept_loss(stream: str, path: Path | None, yes: bool) -> None:
    """Gives up the events that a stream has lost, for good; its service appends again.

    First every row that no event is left for is written to a file, one JSON object a line. Then placeholders take the
    lost sequences, so that none is given to another event, the decision is recorded in the stream's settings, and the
    read models are rebuilt. Interrupted, the same command goes on.
    """
    settings = connected(Settings.load())
    path = path or Path(f"lost-{stream}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    uvloop.run(_run(settings, stream, path, Console(stderr=True), ask=not yes))


async def _run(settings: Settings, stream: str, path: Path, console: Console, *, ask: bool) -> None:
    owners = await Owners.at(settings.database_url)
    by = os.environ.get("SUDO_USER") or getpass.getuser()
    nc = await connect_nats(settings, "operator-accept-loss", patience=5.0)
    try:
        loss = await _loss(nc, stream, owners)
        said = named([*loss.within, *([loss.behind] if loss.behind else [])])
        if ask:
            click.confirm(f"Give up {said} for good? The rows go to {path}.", abort=True, err=True)
        projections = [projection for projection in choose([]) if stream in projection.filters()]
        rows = await _write_rows(nc, owners, projections, {stream: loss.end}, path)
        console.print(f"{rows:,} rows that no event is left for are in {path}", soft_wrap=True)
        await _record(settings, loss, stream, by)
        console.print(f"given up for good: {said}", soft_wrap=True)
        with Bars(console) as bars:

            async def one(projection: type[Projection]) -> Rebuilt:
                return await rebuild(projection, nc, owners.url(projection.run_by()), bars.add(projection.name))

            rebuilt, failed = await each(projections, one)
    finally:
        await nc.close()
    for done in rebuilt:
        console.print(f"[green]{done.projection}[/] rebuilt: {done.events:,} events", soft_wrap=True)
    if failed:
        raise Failure("; ".join(each.line() for each in failed) + ": run `vestnik rebuild` for these")


async def _loss(nc: NATS, stream: str, owners: Owners) -> _Loss:
    """What is to be given up.

    Raises:
        NothingLost: there is nothing.
    """
    jetstream = JetStream(nc)
    known = max([await highest_at(place, stream) for place in owners.urls()])
    try:
        info = await jetstream.info(stream, deleted=True)
        begun = await placeholders.begun(Log(nc), stream)
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"NATS does not say what {stream} has: {failure}") from failure
    decided = {stream: accepted(info.config)}
    gaps = unaccepted(lost(stream, info, known), decided)
    within = [gap for gap in gaps if gap.last <= info.state.last_seq]
    if begun is not None and unaccepted([begun], decided):
        return _Loss(begun.first - 1, within, begun)
    end = info.state.last_seq
    behind = Gap(stream, end + 1, known + placeholders.MARGIN) if known > end else None
    if not within and behind is None:
        raise NothingLost(f"{stream} lacks no event, as far as NATS and the read models know")
    return _Loss(end, within, behind)


async def _write_rows(
    nc: NATS, owners: Owners, projections: list[type[Projection]], ends: dict[str, int], path: Path
) -> int:
    count = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:

        def writing(name: str) -> Callable[[Difference], None]:
            def write(found: Difference) -> None:
                nonlocal count
                count += 1
                row = RowLost(name, found.table, found.kind.value, found.key, found.columns)
                file.write(msgspec.json.encode(row) + b"\n")

            return write

        for projection in projections:
            try:
                url = owners.url(projection.run_by())
                await verify(projection, nc, url, hear=writing(projection.name), ends=ends)
            except NotBuilt:
                continue
        file.flush()
        os.fsync(file.fileno())
    return count


async def _record(settings: Settings, loss: _Loss, stream: str, by: str) -> None:
    store = Store(settings, alone=False)
    if loss.behind is not None:
        owner = await connect_nats(store.as_party(STREAMS[stream]), STREAMS[stream], patience=5.0)
        try:
            await placeholders.fill(Log(owner), loss.behind, by)
        except placeholders.Interfered as interfered:
            raise Failure(str(interfered)) from interfered
        finally:
            await owner.close()
    topology = await connect_nats(store.as_party(TOPOLOGY), TOPOLOGY, patience=5.0)
    try:
        await accept(JetStream(topology), loss.within, by)
        if loss.behind is not None:
            await accept(JetStream(topology), [loss.behind], by, filled=True)
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"the loss was not recorded: {failure}; run the same command again") from failure
    finally:
        await topology.close()
