"""`vestnik audit verify`: compares every event of the streams with what the notary has signed."""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import click
import msgspec
import uvloop
from nats.aio.client import Client as NATS
from rich.console import Console

from contracts.envelope import now
from contracts.subjects import NOTARIZED
from contracts.values.timestamps import rfc3339
from infra.archive.stream_access import reach
from infra.audit.notary_log import NotaryLog, read_chain
from infra.audit.published_keys import JwkSet, changed_keys, load_published, public_keys
from infra.audit.saved_heads import SavedHeads, heads_of_others, load, save
from infra.audit.stream_audit import audit_stream
from infra.audit.verdicts import StreamAudit
from infra.cli.actions.recording import acting
from infra.cli.output import tables
from infra.cli.output.progress_bar import Bar
from infra.cli.output.tables import literal
from infra.cli.process_priority import lower_priority
from infra.runtime.connections import connect_nats
from infra.settings import Settings


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    # Whether every stream is as it was signed.
    sound: bool
    # What is wrong with the stream NOTARY, and with the published keys.
    faults: list[str]
    # Records in NOTARY, and its lost events that an operator has accepted.
    records: int
    lost_accepted: int
    streams: list[StreamAudit]


@click.command()
@click.option(
    "--stream",
    "streams",
    type=click.Choice(list(NOTARIZED), case_sensitive=False),
    multiple=True,
    help="Only this stream; may be repeated.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Kept heads: a saved answer of /.well-known/vestnik/heads, a day of the folder of heads, a file of --save.",
)
@click.option(
    "--save",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Save the last head of each stream for the next --from, if nothing is wrong.",
)
@click.option(
    "--accept-end",
    "accepted_ends",
    metavar="CAUSE",
    multiple=True,
    help="The cause of an end of a tree that may void heads in the file of --from; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def verify(
    streams: tuple[str, ...],
    source: Path | None,
    target: Path | None,
    accepted_ends: tuple[str, ...],
    as_json: bool,
) -> None:
    """Reads every event of the streams and compares them with all heads that the notary has signed.

    The system may be running or stopped. The exit code is 1 if an event was altered, dropped, inserted or reordered, if
    heads contradict each other or are not signed with a published key, or if a stream has no head. Accepted losses,
    imports and restores that the notary has recorded are listed and pass.

    With --from every head in the file must be one of the system's, signed with a key that is still published. If
    `--save` wrote the file, events up to its heads were read then, and are not read again. A head in the file that an
    end of its tree has voided is a fault, unless --accept-end names the cause of that end as it is printed.

    --save keeps the heads of streams that are not verified now, if they are in the file of --from or in that of --save.
    """
    lower_priority()
    settings = Settings.load()
    saved = None if source is None else load(source)
    replaced = load(target) if target is not None and target.exists() else None
    console = tables.console(stderr=True)
    chosen = tuple(stream for stream in NOTARIZED if not streams or stream in {name.upper() for name in streams})
    audit, keys = uvloop.run(_run(settings, chosen, saved, accepted_ends, console))
    if as_json:
        sys.stdout.write(msgspec.json.encode(audit).decode() + "\n")
    else:
        _print(audit, console)
    if target is not None and audit.sound:
        heads = [stream.head for stream in audit.streams if stream.head is not None]
        heads += heads_of_others(chosen, saved, replaced)
        save(target, SavedHeads(items=heads, keys=keys, verified_at=rfc3339(now())))
    if not audit.sound:
        sys.exit(1)


async def _run(
    settings: Settings,
    streams: Sequence[str],
    saved: SavedHeads | None,
    accepted_ends: Collection[str],
    console: Console,
) -> tuple[Audit, JwkSet]:
    async with reach(settings, make=False) as store:
        keys = load_published(store.settings.secrets_path)
        nc = await connect_nats(store.settings, "operator-audit-verify", patience=5.0)
        try:
            async with acting(store.settings, nc, "audit.verify", target=",".join(streams)) as act:
                # The records alone: the heads of a stream are read before it, and are gone from memory after it.
                log = await NotaryLog.read(nc, public_keys(keys), ())
                faults = [*log.faults, *(changed_keys(saved.keys, keys) if saved is not None else ())]
                audits = [await _audit(nc, log, stream, keys, saved, accepted_ends, console) for stream in streams]
                sound = not faults and all(audit.sound for audit in audits)
                if not sound:
                    act.ends("failed", "the streams are not as they were signed")
        finally:
            await nc.close()
    audit = Audit(sound=sound, faults=faults, records=log.records, lost_accepted=log.lost_accepted, streams=audits)
    return audit, keys


async def _audit(
    nc: NATS,
    log: NotaryLog,
    stream: str,
    keys: JwkSet,
    saved: SavedHeads | None,
    accepted_ends: Collection[str],
    console: Console,
) -> StreamAudit:
    chain = await read_chain(nc, stream, public_keys(keys))
    if chain.records < log.records_of[stream]:
        # A server that is not to be trusted may answer differently the second time.
        chain.faults.append(f"NOTARY had {log.records_of[stream]:,} records of {stream}, and now {chain.records:,}")
    with Bar(console, stream, "events") as bar:
        return await audit_stream(
            nc,
            chain,
            bar.move,
            saved=() if saved is None else saved.of_stream(stream),
            continue_=saved is not None and saved.verified_at is not None,
            accepted_ends=accepted_ends,
            records_lost=log.lost_accepted,
        )


def _print(audit: Audit, console: Console) -> None:
    for fault in audit.faults:
        console.print(f"[red]{literal(fault)}[/]", soft_wrap=True, highlight=False)
    for stream in audit.streams:
        verdict = "[green]{}[/] as signed" if stream.sound else "[red]{}[/] NOT as signed"
        console.print(f"{verdict.format(stream.stream)}: {_figures(stream)}", soft_wrap=True)
        lines = [
            *([f"{stream.stream}:{stream.first_wrong}"] if stream.first_wrong else []),
            *(
                [f"shown by {stream.first_wrong.shown_by}"]
                if stream.first_wrong and stream.first_wrong.shown_by
                else []
            ),
            *stream.faults,
            *stream.accepted,
            *(_closed(stream)),
        ]
        for line in lines:
            console.print(f"  {literal(line)}", soft_wrap=True, highlight=False)
    if audit.lost_accepted:
        console.print(f"NOTARY: accepted as lost: {audit.lost_accepted:,}")
    if not audit.sound:
        console.print("see docs/howto/prove-the-audit.md#what-a-verification-names", soft_wrap=True)


def _figures(audit: StreamAudit) -> str:
    since = f" after {audit.after:,}" if audit.after else ""
    figures = f"{audit.events:,} events{since}, {audit.heads:,} heads, {audit.seconds:,.1f} s"
    figures += f" ({audit.events_per_second:,.0f} events/s)"
    if audit.unsigned:
        last = f" after the last head ({audit.head.at})" if audit.head else ""
        figures += f"; {audit.unsigned:,} events{last} are not signed yet"
    return figures


def _closed(audit: StreamAudit) -> list[str]:
    lines = []
    for tree in audit.closed:
        void = f"; {tree.void:,} events that had been signed are void" if tree.void else ""
        what = f"tree {tree.tree} was closed after {tree.size:,} events, at {tree.last_sequence:,}, on {tree.at}"
        lines.append(f"{what}: {tree.reason} ({tree.cause}){void}")
    return lines
