"""`vestnik audit prove`: prints a proof that an event is part of what the notary has signed."""

import asyncio
import logging
import sys
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
from infra.runtime.connections import connect_nats
from infra.settings import Settings


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
    "--stream", type=click.Choice(list(NOTARIZED), case_sensitive=False), help="Look for the event in this stream only."
)
def prove(event_id: str, source: Path | None, stream: str | None) -> None:
    """Prints the proof of an event as one JSON object, for docs/examples/verify_proof.py.

    The event is found by the time in its id. The proof is by the newest head that covers the event; with --heads by one
    in that file. If those are all older than the event, the proof also shows that a newer head continues them.

    The proof contains the event as it is stored, private or not. This command is a look, too.
    """
    saved = None if source is None else load(source)
    proof = asyncio.run(_run(Settings.load(), event_id.lower(), (stream.upper(),) if stream else NOTARIZED, saved))
    if not is_public(proof.subject):
        click.echo("The proof contains a private event in readable form.", err=True)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(proof), indent=2).decode() + "\n")


async def _run(settings: Settings, event_id: str, streams: tuple[str, ...], saved: SavedHeads | None) -> Proof:
    async with reach(settings, make=False) as store:
        keys = public_keys(load_published(store.settings.secrets_path))
        nc = await connect_nats(store.settings, "operator-audit-prove", patience=5.0)
        try:
            await look(store.settings, nc, "proof", target=event_id)
            message = await find_event(nc, event_id, streams)
            chain = await read_chain(nc, message.stream, keys)
            return await prove_event(nc, chain, message, None if saved is None else saved.of_stream(message.stream))
        finally:
            # The connection ends with the command: no warning is needed.
            logging.getLogger("infra.runtime.connections").setLevel(logging.ERROR)
            await nc.close()
