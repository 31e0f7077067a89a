"""`vestnik audit prove`: prints a proof that an event is part of what the notary has signed."""

import asyncio
import logging
import sys
from datetime import datetime
from pathlib import Path

import click
import msgspec

from contracts.subjects import NOTARIZED, is_public
from infra.archive.stream_access import reach
from infra.audit.event_lookup import find_event
from infra.audit.inclusion import Proof
from infra.audit.inclusion import prove as prove_event
from infra.audit.notary_log import read_chain
from infra.audit.published_keys import load_published, public_keys
from infra.audit.saved_heads import SavedHeads, load
from infra.cli.actions.recording import look
from infra.cli.params import Moment
from infra.runtime.connections import connect_nats
from infra.settings import Settings
from services.operator.actions.domain import recorded_id


@click.command()
@click.argument("event_id", metavar="EVENT_ID")
@click.option(
    "--heads",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Prove it by a head in this saved answer of /.well-known/vestnik/heads.",
)
@click.option(
    "--at",
    type=Moment(),
    help="Prove it by the newest head that was signed until then: the `at` of the head that an auditor has.",
)
@click.option(
    "--stream", type=click.Choice(list(NOTARIZED), case_sensitive=False), help="Look for the event in this stream only."
)
def prove(event_id: str, source: Path | None, at: datetime | None, stream: str | None) -> None:
    """Prints the proof of an event as one JSON object, for docs/examples/verify_proof.py.

    The event is found by the time in its id. The proof is by the newest head that covers the event, which it names;
    with --at by the newest one of that time; with --heads by one in that file. If those in the file are all older than
    the event, the proof also shows that a newer head continues them.

    The proof contains the event as it is stored, private or not. This command is a look, too.
    """
    if source is not None and at is not None:
        raise click.UsageError("--heads and --at exclude each other: the file says which heads there are")
    saved = None if source is None else load(source)
    streams = (stream.upper(),) if stream else NOTARIZED
    proof = asyncio.run(_run(Settings.load(), event_id.lower(), streams, saved, at))
    click.echo(
        f"The proof leads to the head of {proof.size:,} events of tree {proof.tree} of {proof.stream}, signed at"
        f" {proof.signed_at}.",
        err=True,
    )
    if saved is None:
        click.echo(
            "Heads that an auditor saved at another time lack it: for these, name their file (--heads), or the `at` of"
            " the stream's head in it (--at).",
            err=True,
        )
    if not is_public(proof.subject):
        click.echo("The proof contains a private event in readable form.", err=True)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(proof), indent=2).decode() + "\n")


async def _run(
    settings: Settings, event_id: str, streams: tuple[str, ...], saved: SavedHeads | None, at: datetime | None
) -> Proof:
    async with reach(settings, make=False) as store:
        keys = public_keys(load_published(store.settings.secrets_path))
        nc = await connect_nats(store.settings, "operator-audit-prove", patience=5.0)
        try:
            await look(store.settings, nc, "proof", target=recorded_id(event_id))
            message = await find_event(nc, event_id, streams)
            chain = await read_chain(nc, message.stream, keys)
            heads = None if saved is None else saved.of_stream(message.stream)
            return await prove_event(nc, chain, message, heads, at=at)
        finally:
            # The connection ends with the command: no warning is needed.
            logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
            await nc.close()
