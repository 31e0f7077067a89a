"""Heads cover what the stream has, and no head is signed over a stream that is not what was signed before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client

from contracts.envelope import Provenance, now, seal
from contracts.errors import KeysUnavailable
from contracts.events.message import MessageSent
from contracts.events.notary import EndReason, TreeClosed, TreeHeadSigned
from contracts.personal_data.key_ids import text_key
from contracts.subjects import MESSAGING, NOTARY, conversation, tree_head
from contracts.values.ids import new_id
from contracts.values.personal_data import Sealed
from infra.embedded.nats_server import NatsServer
from infra.security.notary.keys import NotaryKeys
from infra.security.secrets import Secrets
from services.notary.metrics import BROKEN
from services.notary.stream_notary import StreamNotary
from services.notary.tree_log import TreeLog
from streams.jetstream.api import JetStream
from streams.log import Append, Log
from streams.loss.missing_events import Gap, accept
from streams.loss.replaced_history import record_replaced
from streams.merkle.frontier import TILE, Frontier
from streams.merkle.signatures import Signed, has_valid_signature
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from streams.restore import ArchivedMessage, StreamRestorer
from streams.topology import settings_of
from tests.integration.streams.conftest import append_to, fill
from tests.leaf_data import leaf_data, leaf_hash

PATIENCE = 60
# Between two heads: far shorter than in production.
INTERVAL = 0.05


@pytest.fixture
def keys(tmp_path: Path) -> NotaryKeys:
    return NotaryKeys(Secrets.create(tmp_path / "secrets")._folder)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken tree is looked at again soon."""
    monkeypatch.setattr("services.notary.stream_notary._PAUSE_BROKEN", 0.2)


@pytest.fixture
def log(streams: Client) -> Log:
    return Log(streams)


@asynccontextmanager
async def notary(nc: Client, keys: NotaryKeys) -> AsyncIterator[None]:
    trees = TreeLog(nc, Log(nc), keys)
    running = asyncio.create_task(StreamNotary(nc, MESSAGING, trees, interval=INTERVAL).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def records(nc: Client) -> list[Signed]:
    signed: list[Signed] = []
    for message in await Log(nc).read(tree_head(MESSAGING)):
        record = message.open().data
        assert isinstance(record, TreeHeadSigned | TreeClosed)
        signed.append(record)
    return signed


async def last_record(nc: Client, *, sequence: int = 0, tree: int = 1) -> TreeHeadSigned:
    """Waits until the last record is a head of the stream's `tree`-th tree that covers the sequence."""
    async with asyncio.timeout(PATIENCE):
        while True:
            every = await records(nc)
            number = 1 + sum(isinstance(record, TreeClosed) for record in every)
            if (
                every
                and isinstance(every[-1], TreeHeadSigned)
                and every[-1].last_sequence >= sequence
                and number == tree
            ):
                return every[-1]
            await asyncio.sleep(0.02)


async def broken(state: float = 1.0) -> None:
    async with asyncio.timeout(PATIENCE):
        while BROKEN.labels(MESSAGING)._value.get() != state:
            await asyncio.sleep(0.02)


async def root_of(nc: Client, first: int, last: int) -> str:
    """The root of the tree of the stored events from `first` to `last`, computed leaf by leaf."""
    frontier, jetstream = Frontier(), JetStream(nc)
    for sequence in range(first, last + 1):
        message = await jetstream.at(MESSAGING, sequence)
        if message is not None and message.subject != f"vestnik.{MESSAGING.lower()}.lost":
            assert message.headers is not None
            data = leaf_data(MESSAGING, sequence, message.subject, message.headers["Nats-Msg-Id"], message.payload)
            frontier.extend([leaf_hash(data)])
    return frontier.root.hex()


async def made_deletable(streams: Client) -> None:
    """Recreates MESSAGING so that a test can take events out of it."""
    await streams.request(f"$JS.API.STREAM.DELETE.{MESSAGING}", b"")
    settings = settings_of(MESSAGING, replicas=1) | {"deny_delete": False, "deny_purge": False}
    await streams.request(f"$JS.API.STREAM.CREATE.{MESSAGING}", msgspec.json.encode(settings))


async def test_heads_cover_the_stream_and_are_signed(streams: Client, log: Log, keys: NotaryKeys) -> None:
    await fill(log, 10)
    async with notary(streams, keys):
        first = await last_record(streams, sequence=10)
        await fill(log, 5)
        second = await last_record(streams, sequence=15)
    key_id, key = keys.current()
    for head, size in ((first, 10), (second, 15)):
        assert (head.stream, head.tree, head.size, head.first_sequence) == (MESSAGING, 1, size, 1)
        assert head.root == await root_of(streams, 1, size)
        assert head.key_id == key_id
        assert has_valid_signature(head, key.public_key())


async def test_no_head_is_signed_without_new_events(streams: Client, log: Log, keys: NotaryKeys) -> None:
    async with notary(streams, keys):
        await fill(log, 3)
        await last_record(streams, sequence=3)
        await asyncio.sleep(10 * INTERVAL)
        count = len(await records(streams))
        await fill(log, 1)
        await last_record(streams, sequence=4)
    # The first three may have had a head each; nothing was signed while nothing came.
    assert len(await records(streams)) == count + 1


async def test_a_notary_goes_on_from_the_last_head_wherever_the_previous_one_stopped(
    streams: Client, log: Log, keys: NotaryKeys
) -> None:
    size = 0
    for count in (3, 1, 700, TILE, 2):
        await fill(log, count)
        size += count
        async with notary(streams, keys):
            head = await last_record(streams, sequence=size)
    assert head.size == size
    assert head.root == await root_of(streams, 1, size)
    frontier = Frontier()
    tiles = [tile for record in await records(streams) if isinstance(record, TreeHeadSigned) for tile in record.tiles]
    leaves = [
        leaf_hash(leaf_data(MESSAGING, event.sequence, event.subject, event.event_id(), event.payload))
        for event in await log.read(conversation("a"))
    ]
    assert tiles == [tile.hex() for tile in frontier.extend(leaves)]


async def test_two_notaries_sign_one_history(
    streams: Client, log: Log, keys: NotaryKeys, nats_server: NatsServer
) -> None:
    async with notary(streams, keys), notary(streams, keys):
        for _ in range(30):
            await fill(log, 7)
        await last_record(streams, sequence=210)
    sizes = [record.size for record in await records(streams)]
    assert sizes == sorted(set(sizes))
    for record in (await records(streams))[-3:]:
        assert record.root == await root_of(streams, 1, record.last_sequence)


async def test_a_notary_outlasts_its_server(
    streams: Client, log: Log, keys: NotaryKeys, nats_server: NatsServer
) -> None:
    await fill(log, 5)
    async with notary(streams, keys):
        await last_record(streams, sequence=5)
        await nats_server.stop()
        await nats_server.start()
        await fill(Log(streams, patience=PATIENCE), 5)
        head = await last_record(streams, sequence=10)
    assert head.root == await root_of(streams, 1, 10)


async def test_a_gap_stops_the_heads_until_its_loss_is_accepted(streams: Client, keys: NotaryKeys) -> None:
    await made_deletable(streams)
    log = Log(streams)
    await fill(log, 20)
    await streams.jetstream().delete_msg(MESSAGING, 8)
    async with notary(streams, keys):
        head = await last_record(streams, sequence=7)
        assert (head.size, head.last_sequence) == (7, 7)
        await broken()
        assert (await last_record(streams, sequence=7)).size == 7
        await accept(JetStream(streams), [Gap(MESSAGING, 8, 8)], "alice")
        head = await last_record(streams, sequence=20, tree=2)
        await broken(0.0)
    end = next(record for record in await records(streams) if isinstance(record, TreeClosed))
    assert (end.tree, end.size, end.last_sequence, end.next_tree) == (1, 7, 7, head.tree)
    assert (end.reason, end.first_lost, end.last_lost) == (EndReason.LOSS_ACCEPTED, 8, 8)
    assert end.root == await root_of(streams, 1, 7)
    assert has_valid_signature(end, keys.current()[1].public_key())
    assert (head.size, head.first_sequence) == (12, 9)
    assert head.root == await root_of(streams, 9, 20)


async def test_an_accepted_loss_of_signed_events_ends_the_tree_before_them(streams: Client, keys: NotaryKeys) -> None:
    await made_deletable(streams)
    log = Log(streams)
    async with notary(streams, keys):
        await fill(log, 6)
        await last_record(streams, sequence=6)
        await fill(log, 14)
        await last_record(streams, sequence=20)
        for sequence in (9, 10, 20):
            await streams.jetstream().delete_msg(MESSAGING, sequence)
        await streams.jetstream().publish(conversation("b"), append_to("b").envelope.data, headers={"Nats-Msg-Id": "x"})
        await broken()
        await accept(JetStream(streams), [Gap(MESSAGING, 9, 10), Gap(MESSAGING, 20, 20)], "alice")
        head = await last_record(streams, sequence=21, tree=3)
    ends = [record for record in await records(streams) if isinstance(record, TreeClosed)]
    assert [(end.size, end.last_sequence) for end in ends] == [(8, 8), (9, 19)]
    assert [1, *(end.next_tree for end in ends)] == [*(end.tree for end in ends), head.tree]
    assert ends[0].root == await root_of(streams, 1, 8)
    assert ends[1].root == await root_of(streams, 11, 19)
    assert head.root == await root_of(streams, 21, 21)


async def test_no_head_is_signed_over_a_stream_that_has_other_events(streams: Client, keys: NotaryKeys) -> None:
    await made_deletable(streams)
    await fill(Log(streams), 12)
    async with notary(streams, keys):
        await last_record(streams, sequence=12)
    before = await records(streams)
    await made_deletable(streams)
    await fill(Log(streams), 15)
    async with notary(streams, keys):
        await broken()
        assert await records(streams) == before
        # An operator says that it is a restored copy.
        await record_replaced(JetStream(streams), EndReason.RESTORE)
        head = await last_record(streams, sequence=15, tree=2)
    end = next(record for record in await records(streams) if isinstance(record, TreeClosed))
    assert (end.reason, end.size, end.last_sequence) == (EndReason.RESTORE, 0, 0)
    assert head.root == await root_of(streams, 1, 15)


async def test_a_running_notary_signs_no_second_history_after_its_own_stream_was_cut(
    streams: Client, log: Log, keys: NotaryKeys
) -> None:
    await streams.request(f"$JS.API.STREAM.DELETE.{NOTARY}", b"")
    settings = settings_of(NOTARY, replicas=1) | {"deny_delete": False, "deny_purge": False}
    await streams.request(f"$JS.API.STREAM.CREATE.{NOTARY}", msgspec.json.encode(settings))
    async with notary(streams, keys):
        await fill(log, 4)
        first = await last_record(streams, sequence=4)
        await fill(log, 4)
        await last_record(streams, sequence=8)
        # NOTARY as it was after the fourth event, and other events from the fifth on.
        stored = [
            ArchivedMessage(event.subject, event.payload, {"Nats-Msg-Id": event.event_id()})
            for event in await log.read(conversation("a"))
        ]
        await streams.request(f"$JS.API.STREAM.DELETE.{MESSAGING}", b"")
        await streams.request(
            f"$JS.API.STREAM.CREATE.{MESSAGING}", msgspec.json.encode(settings_of(MESSAGING, replicas=1))
        )
        await StreamRestorer(streams, MESSAGING).put(1, [*stored[:4], *reversed(stored[4:])])
        await broken()
        while (await records(streams))[-1] != first:
            message = await log.last(tree_head(MESSAGING))
            assert message is not None
            await streams.jetstream().delete_msg(NOTARY, message.sequence)
        # Many times as long as until its next attempt.
        await asyncio.sleep(40 * INTERVAL)
        assert (await records(streams))[-1] == first
        # A restored copy explains it.
        await record_replaced(JetStream(streams), EndReason.RESTORE)
        async with asyncio.timeout(PATIENCE):
            while not isinstance((await records(streams))[-1], TreeClosed):
                await asyncio.sleep(0.02)


async def test_settings_that_cannot_be_read_are_reported_as_a_break(
    streams: Client, log: Log, keys: NotaryKeys
) -> None:
    await fill(log, 2)
    config = (await JetStream(streams).info(MESSAGING)).config
    config["metadata"] = (config.get("metadata") or {}) | {"vestnik.accepted-losses": "no list"}
    await streams.request(f"$JS.API.STREAM.UPDATE.{MESSAGING}", msgspec.json.encode(config))
    BROKEN.labels(MESSAGING).set(0)
    async with notary(streams, keys):
        await broken()
    assert await records(streams) == []


@pytest.mark.parametrize("field", ["settled", "last_leaf", "frontier", "signature", "key_id"])
async def test_nothing_is_signed_after_a_record_that_the_notary_did_not_write(
    streams: Client, log: Log, keys: NotaryKeys, field: str
) -> None:
    await fill(log, 6)
    async with notary(streams, keys):
        head = await last_record(streams, sequence=6)
    others: dict[str, object] = {
        "settled": ("import export-1",),
        "last_leaf": None,
        "frontier": tuple(reversed(head.frontier)),
        "signature": "00" * 64,
        "key_id": "20260131T000000Z-0a1b2c3d",
    }
    message = await log.last(tree_head(MESSAGING))
    assert message is not None
    forged = seal(
        msgspec.structs.replace(head, **{field: others[field]}),
        aggregate_id=MESSAGING,
        version=message.envelope().version + 1,
        provenance=Provenance(),
    )
    await log.append(Append(subject=tree_head(MESSAGING), expected=message.sequence, envelope=forged))
    before = await records(streams)
    await fill(log, 3)
    BROKEN.labels(MESSAGING).set(0)
    async with notary(streams, keys):
        await broken()
    assert await records(streams) == before


async def test_a_loss_of_events_that_are_still_there_ends_no_tree(streams: Client, log: Log, keys: NotaryKeys) -> None:
    await fill(log, 6)
    async with notary(streams, keys):
        await last_record(streams, sequence=6)
        before = await records(streams)
        await accept(JetStream(streams), [Gap(MESSAGING, 2, 3)], "mallory")
        await fill(log, 3)
        await broken()
    assert await records(streams) == before


async def test_a_copy_that_ends_in_the_events_before_a_loss_voids_the_end_of_that_tree(
    streams: Client, keys: NotaryKeys
) -> None:
    await made_deletable(streams)
    log = Log(streams)
    async with notary(streams, keys):
        await fill(log, 4)
        await last_record(streams, sequence=4)
    await fill(log, 4)
    await streams.jetstream().delete_msg(MESSAGING, 8)
    await accept(JetStream(streams), [Gap(MESSAGING, 8, 8)], "alice")
    await fill(log, 1)
    async with notary(streams, keys):
        await last_record(streams, sequence=9, tree=2)
    await made_deletable(streams)
    # Other events than those that the end of the first tree covers after its last head.
    await fill(log, 9, "b")
    await record_replaced(JetStream(streams), EndReason.RESTORE)
    async with notary(streams, keys):
        head = await last_record(streams, sequence=9, tree=3)
    end = [record for record in await records(streams) if isinstance(record, TreeClosed)][-1]
    assert (end.reason, end.size, end.last_sequence) == (EndReason.RESTORE, 0, 0)
    assert head.root == await root_of(streams, 1, 9)


async def test_a_copy_from_before_an_import_ends_the_tree_of_then(streams: Client, keys: NotaryKeys) -> None:
    await made_deletable(streams)
    log = Log(streams)
    async with notary(streams, keys):
        await fill(log, 4)
        await last_record(streams, sequence=4)
        await record_replaced(JetStream(streams), EndReason.IMPORT, "export-1")
        await fill(log, 4)
        await last_record(streams, sequence=8, tree=2)
    await made_deletable(streams)
    await fill(Log(streams), 3)
    await record_replaced(JetStream(streams), EndReason.RESTORE)
    async with notary(streams, keys):
        head = await last_record(streams, sequence=3, tree=3)
    end = [record for record in await records(streams) if isinstance(record, TreeClosed)][-1]
    assert (end.tree, end.size, end.last_sequence, end.next_tree) == (1, 0, 0, head.tree)
    assert head.root == await root_of(streams, 1, 3)


async def test_a_restored_copy_ends_the_tree_at_the_last_head_that_it_has(streams: Client, keys: NotaryKeys) -> None:
    await made_deletable(streams)
    log = Log(streams)
    async with notary(streams, keys):
        for size in (4, 8, 12):
            await fill(log, 4)
            await last_record(streams, sequence=size)
    await streams.jetstream().purge_stream(MESSAGING, seq=1)
    for sequence in range(9, 13):
        await streams.jetstream().delete_msg(MESSAGING, sequence)
    await record_replaced(JetStream(streams), EndReason.RESTORE)
    await fill(log, 2, "b")
    async with notary(streams, keys):
        async with asyncio.timeout(PATIENCE):
            while not isinstance((await records(streams))[-1], TreeClosed):
                await asyncio.sleep(0.02)
    end = (await records(streams))[-1]
    assert (end.size, end.last_sequence) == (8, 8)
    assert end.root == await root_of(streams, 1, 8)


class NoKeys:
    """The notary may not read keys."""

    async def find(self, key_ids: set[str]) -> dict[str, AESGCM | None]:
        raise KeysUnavailable


async def test_sealed_events_are_signed_as_they_are_stored_without_their_keys(
    streams: Client, log: Log, keys: NotaryKeys
) -> None:
    unseal_with(streams, Unsealer(NoKeys()))
    conversation_id, sender = new_id(), new_id()
    text: Any = Sealed(key=text_key(conversation_id, sender, now()), ciphertext="x")
    sent = MessageSent(
        message_id=new_id(), sender_id=sender, recipient_id=new_id(), sequence=1, text=text, client_message_id="1"
    )
    envelope = seal(sent, aggregate_id=conversation_id, version=1, provenance=Provenance())
    sequence = await log.append(Append(subject=conversation(conversation_id), expected=0, envelope=envelope))
    async with notary(streams, keys):
        head = await last_record(streams, sequence=sequence)
    assert head.size == 1
