"""What the notary signs passes an audit, through losses, imports and restores."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from nats.aio.client import Client

from contracts.events.notary import EndReason, TreeHeadSigned
from contracts.subjects import MESSAGING, tree_head
from infra.audit.notary_log import NotaryLog
from infra.audit.published_keys import load_published, public_keys
from infra.audit.saved_heads import SavedHead
from infra.audit.stream_audit import audit_stream
from infra.audit.verdicts import StreamAudit
from infra.security.secrets import Secrets
from services.notary.stream_notary import StreamNotary
from services.notary.tree_log import TreeLog
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.loss.missing_events import Gap, accept
from streams.loss.replaced_history import record_replaced
from streams.topology import settings_of
from tests.integration.streams.conftest import fill


@asynccontextmanager
async def signed_by_the_notary(
    nc: Client, secrets: Secrets, until: Callable[[TreeHeadSigned], bool]
) -> AsyncIterator[None]:
    """Runs a notary; before it stops, waits for a head with a property as the last record."""
    trees = TreeLog(nc, Log(nc), secrets.notary_keys())
    running = asyncio.create_task(StreamNotary(nc, MESSAGING, trees, interval=0.05).run())
    try:
        yield
        async with asyncio.timeout(60):
            while not await is_last(nc, until):
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def is_last(nc: Client, until: Callable[[TreeHeadSigned], bool]) -> bool:
    message = await Log(nc).last(tree_head(MESSAGING))
    record = message.open().data if message else None
    return isinstance(record, TreeHeadSigned) and until(record)


async def audit(nc: Client, folder: Path, saved: SavedHead | None = None, *ends: str) -> StreamAudit:
    log = await NotaryLog.read(nc, public_keys(load_published(folder)))
    assert log.faults == []
    kept = [] if saved is None else [saved]
    return await audit_stream(nc, log.chains[MESSAGING], lambda done, total: None, saved=kept, accepted_ends=ends)


async def test_accepted_losses_imports_and_restores_are_listed_and_pass(streams: Client, tmp_path: Path) -> None:
    await streams.jetstream().delete_stream(MESSAGING)
    settings = settings_of(MESSAGING, replicas=1) | {"deny_delete": False, "deny_purge": False}
    await streams.request(f"$JS.API.STREAM.CREATE.{MESSAGING}", msgspec.json.encode(settings))
    folder = tmp_path / "secrets"
    secrets, log = Secrets.create(folder), Log(streams)
    async with signed_by_the_notary(streams, secrets, lambda head: head.size == 12):
        await fill(log, 7)
        await fill(log, 5, "b")
    whole = await audit(streams, folder)
    assert (whole.sound, whole.events, whole.closed) == (True, 12, [])
    assert whole.head is not None

    await streams.jetstream().delete_msg(MESSAGING, 5)
    lost = await audit(streams, folder)
    assert lost.first_wrong is not None
    assert (lost.first_wrong.first, lost.sound) == (5, False)
    await accept(JetStream(streams), [Gap(MESSAGING, 5, 5)], "a test")
    async with signed_by_the_notary(streams, secrets, lambda head: head.tree > 1 and head.size == 7):
        pass
    (loss,) = (await audit(streams, folder)).closed
    verdict = await audit(streams, folder, whole.head, loss.cause)
    assert (verdict.sound, verdict.events) == (True, 11), verdict
    assert [(end.tree, end.size, end.reason, end.void) for end in verdict.closed] == [
        (1, 4, EndReason.LOSS_ACCEPTED.value, 8)
    ]

    # A backup of the first tree: what came after it is gone, and an operator says so.
    for sequence in range(3, 13):
        if sequence != 5:
            await streams.jetstream().delete_msg(MESSAGING, sequence)
    await record_replaced(JetStream(streams), EndReason.RESTORE)
    await fill(log, 3, "c")
    await accept(JetStream(streams), [Gap(MESSAGING, 3, 12)], "a test")
    async with signed_by_the_notary(streams, secrets, lambda head: head.last_sequence == 15):
        pass
    verdict = await audit(streams, folder, whole.head, loss.cause)
    assert verdict.sound, verdict
    assert [end.reason for end in verdict.closed][:2] == [EndReason.LOSS_ACCEPTED.value, EndReason.RESTORE.value]
    # An import that the notary has recorded, with the events as they were.
    await record_replaced(JetStream(streams), EndReason.IMPORT, "an export")
    async with signed_by_the_notary(streams, secrets, lambda head: head.last_sequence == 16):
        await fill(log, 1, "c")
    verdict = await audit(streams, folder, whole.head, loss.cause)
    assert (verdict.sound, verdict.closed[-1].reason, verdict.closed[-1].void) == (True, EndReason.IMPORT.value, 0), (
        verdict
    )
