"""`vestnik streams accept-loss`: accepts that a stream has lost events, so that its service appends again."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop
from nats.aio.client import Client as NATS
from rich.console import Console

from contracts.errors import Unavailable
from contracts.events.notary import TreeHeadSigned
from contracts.subjects import NOTARY, OPERATOR, STREAMS, tree_head
from infra.archive.output_file import target
from infra.archive.stream_access import Store
from infra.checkpoints import highest_at
from infra.cli.actions.identity import Reason, actor
from infra.cli.actions.recording import flush, recorder
from infra.cli.output import tables
from infra.cli.output.projection_progress import Bars
from infra.cli.parallel import run_each
from infra.cli.reader_connection import connect_reader
from infra.operator_errors import OperatorError
from infra.runtime.connections import connect_nats
from infra.runtime.run_file import with_running_addresses
from infra.security.secrets import TOPOLOGY
from infra.security.service_schemas import ServiceSchemas
from infra.settings import Settings
from projections.engine.inspection.table_diff import Difference
from projections.engine.inspection.verify import NotBuilt, verify
from projections.engine.projection import Projection
from projections.engine.rebuild.rebuild import Rebuilt, rebuild
from projections.registry import choose
from streams.jetstream.api import STREAM_NOT_FOUND, JetStream, Refused, StreamInfo
from streams.jetstream.requests import RequestFailed
from streams.log import Log
from streams.loss import placeholders
from streams.loss.missing_events import Gap, accept, accepted, named, unaccepted
from streams.loss.watch import undecided


class NothingLost(OperatorError):
    """The stream has all its events, as far as NATS and the read models show."""


class RowsExist(OperatorError):
    """The file for the rows exists already."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists, perhaps with rows of an earlier attempt; name another file with --rows")


class RowLost(msgspec.Struct, frozen=True):
    """A row of a read model that differs from a rebuild of the events that are left."""

    projection: str
    table: str
    # In a rebuild, `extra`: the row would not exist; `changed`: it would have other values; `missing`: it would exist.
    kind: str
    key: dict[str, str | None]
    # By column, the present value and the rebuilt one.
    columns: dict[str, tuple[str | None, str | None]]


class Loss(msgspec.Struct, frozen=True):
    """The lost events of a stream on which no decision is recorded."""

    # Last sequence of the stream before any placeholders at its end.
    end: int
    # Lost between other events.
    within: list[Gap]
    # Lost at the end, with a margin for further lost events; to be filled with placeholders.
    behind: Gap | None
    # Filled before, with other events after: by a command that was killed, or in the system that was exported.
    filled: list[Gap]

    def __str__(self) -> str:
        return named([*self.within, *self.filled, *([self.behind] if self.behind else [])])


class Lacking(msgspec.Struct, frozen=True):
    """Other streams that have lost events."""

    streams: set[str]
    # By stream, the last sequence of those that have lost their end.
    ends: dict[str, int]


@click.command("accept-loss")
@click.argument("stream", type=click.Choice(list(STREAMS)))
@click.option(
    "--rows",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the rows that have no event left; default: a new file in the working directory.",
)
@click.option("--reason", type=Reason(), required=True, help="The reason; recorded permanently, in plain form.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept_loss(stream: str, path: Path | None, reason: str, yes: bool) -> None:
    """Accepts the permanent loss of the events that a stream has lost; its service then appends again.

    First every row that has no event left is written to a file, one JSON object per line. Then placeholders take the
    lost sequences, so that no other event gets them, the decision is recorded in the stream's settings, and the read
    models are rebuilt. A read model that also lacks events of another stream is rebuilt when their loss is accepted.
    After an interruption the same command resumes.
    """
    settings = with_running_addresses(Settings.load())
    if path is not None and path.exists():
        raise RowsExist(path)
    path = path or Path(f"lost-{stream}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    uvloop.run(_run(settings, stream, path, reason, tables.console(stderr=True), ask=not yes))


async def _run(settings: Settings, stream: str, path: Path, reason: str, console: Console, *, ask: bool) -> None:
    owners = await ServiceSchemas.discover(settings.database_url)
    who = actor()
    nc = await connect_reader(settings, "operator-accept-loss", patience=5.0)
    try:
        loss = await find(nc, stream, owners)
        if ask:
            click.confirm(f"Accept the permanent loss of {loss}? The rows are written to {path}.", abort=True, err=True)
        kept = choose([], settings.read_model_services)
        projections = [projection for projection in kept if stream in projection.filters()]
        others = {other for projection in projections for other in projection.filters()} - {stream}
        lacking = await _lacking(nc, owners, others)
        # To the stream itself nothing may be appended before its lost end is filled: the act waits in the file.
        recording = await recorder(settings, None if stream == OPERATOR else nc)
        details = {"lost": str(loss), "file": path.name}
        async with recording.acting(who, "stream.accept_loss", target=stream, details=details, reason=reason):
            rows = await write_rows(nc, owners, projections, lacking.ends | {stream: loss.end}, path)
            console.print(f"{rows:,} rows that have no event left are in {path}", soft_wrap=True)
            await give_up(settings, loss, stream, who.name)
        await flush(settings)
        console.print(f"accepted as lost: {loss}", soft_wrap=True)
        # A rebuild of these would wait for a position that does not exist, or fail on lost events.
        postponed = [projection for projection in projections if lacking.streams & projection.filters().keys()]
        with Bars(console) as bars:

            async def one(projection: type[Projection]) -> Rebuilt:
                return await rebuild(projection, nc, owners.url(projection.run_by()), bars.add(projection.name))

            rebuilt, failed = await run_each([kind for kind in projections if kind not in postponed], one)
    finally:
        await nc.close()
    for done in rebuilt:
        console.print(f"[green]{done.projection}[/] rebuilt: {done.events:,} events", soft_wrap=True)
    for kind in postponed:
        streams = sorted(lacking.streams & kind.filters().keys())
        console.print(
            f"[yellow]{kind.name}[/] is not rebuilt yet, because events of {' and '.join(streams)} are missing, "
            f"too: `vestnik streams accept-loss {streams[0]} --reason TEXT` accepts their loss and rebuilds it; if "
            f"they are restored, run `vestnik rebuild {kind.name}`",
            soft_wrap=True,
        )
    if failed:
        raise OperatorError("; ".join(failure.line() for failure in failed) + ": run `vestnik rebuild` for these")


async def find(nc: NATS, stream: str, owners: ServiceSchemas) -> Loss:
    """Finds the lost events that are to be accepted.

    `nc`: an operator's connection, which may read everything.

    Raises:
        NothingLost: there are none.
        Unavailable: NATS or the database does not answer.
    """
    info, known = await _ends_of(nc, stream, owners)
    last, decided = info.state.last_seq, {stream: accepted(info.config)}
    within = undecided(stream, info, 0)
    log = Log(nc)
    begun = await placeholders.begun(log, stream)
    filled: list[Gap] = []
    if begun is not None and unaccepted([begun], decided):
        filled = await placeholders.filled(log, begun)
        if filled == [Gap(stream, begun.first, last)]:
            # Nothing was appended after the placeholders, so filling can continue.
            end = begun.last if known <= begun.last else known + placeholders.MARGIN
            return Loss(begun.first - 1, within, Gap(stream, begun.first, end), [])
    filled = unaccepted(filled, decided)
    behind = Gap(stream, last + 1, known + placeholders.MARGIN) if known > last else None
    if not within and not filled and behind is None:
        raise NothingLost(f"{stream} lacks no event that NATS or the read models have recorded")
    return Loss(last, within, behind, filled)


async def _lacking(nc: NATS, owners: ServiceSchemas, streams: Iterable[str]) -> Lacking:
    """Returns which of the streams have lost events that are not accepted."""
    lacking = Lacking(set(), {})
    for stream in streams:
        info, known = await _ends_of(nc, stream, owners)
        if info.state.last_seq < known:
            lacking.ends[stream] = info.state.last_seq
        if undecided(stream, info, known):
            lacking.streams.add(stream)
    return lacking


async def _ends_of(nc: NATS, stream: str, owners: ServiceSchemas) -> tuple[StreamInfo, int]:
    """Returns the stream's info, and the highest sequence that a read model has applied or the notary has signed."""
    # Read before the stream's info: the stream and its read models advance meanwhile.
    known = max([await highest_at(database_url, stream) for database_url in owners.urls()])
    jetstream = JetStream(nc)
    try:
        known = max(known, await _signed(jetstream, stream))
        return await jetstream.info(stream, deleted=True), known
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"NATS does not report what {stream} contains: {failure}") from failure


async def _signed(jetstream: JetStream, stream: str) -> int:
    """The last sequence that the notary has signed; 0 if it has signed none, or there is no NOTARY yet."""
    try:
        message = await jetstream.last(NOTARY, tree_head(stream))
    except Refused as refused:
        if refused.error.err_code == STREAM_NOT_FOUND:
            return 0
        raise
    record = message.open().data if message is not None else None
    return record.last_sequence if isinstance(record, TreeHeadSigned) else 0


async def write_rows(
    nc: NATS, owners: ServiceSchemas, projections: list[type[Projection]], ends: Mapping[str, int], path: Path
) -> int:
    """Writes the rows that differ from a rebuild up to `ends`, and returns their count; the file is whole or absent.

    `ends`: the last sequence by stream.

    Raises:
        TargetExists, CannotWrite: the path cannot be written.
        Unavailable: the database or NATS does not answer.
    """
    count = 0
    with target(path, force=False) as file:

        def writing(name: str) -> Callable[[Difference], None]:
            def write(difference: Difference) -> None:
                nonlocal count
                count += 1
                row = RowLost(name, difference.table, difference.kind.value, difference.key, difference.columns)
                file.write(msgspec.json.encode(row) + b"\n")

            return write

        for projection in projections:
            try:
                url = owners.url(projection.run_by())
                await verify(projection, nc, url, on_difference=writing(projection.name), ends=ends)
            except NotBuilt:
                continue
    return count


async def give_up(settings: Settings, loss: Loss, stream: str, by: str) -> None:
    """Fills the end of the stream with placeholders, and records the loss in the stream's settings.

    Raises:
        OperatorError: the stream's owner is at work.
        Unavailable: NATS does not answer; the next call resumes.
    """
    store = Store(settings, alone=False)
    if loss.behind is not None:
        owner = await connect_nats(store.as_party(STREAMS[stream]), STREAMS[stream], patience=5.0)
        try:
            await placeholders.fill(Log(owner), loss.behind, by)
        except placeholders.Interfered as interfered:
            raise OperatorError(str(interfered)) from interfered
        finally:
            await owner.close()
    topology = await connect_nats(store.as_party(TOPOLOGY), TOPOLOGY, patience=5.0)
    try:
        await accept(JetStream(topology), loss.within, by)
        filled = [*loss.filled, *([loss.behind] if loss.behind else [])]
        await accept(JetStream(topology), filled, by, filled=True)
    except (RequestFailed, Refused) as failure:
        raise Unavailable(f"the loss was not recorded: {failure}; run the same command again") from failure
    finally:
        await topology.close()
