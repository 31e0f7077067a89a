"""A node that is cut off from the others confirms nothing, from before the others can have moved on.

One cluster for all of these tests: each works on aggregates of its own and leaves the nodes connected.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from contracts.envelope import Provenance
from contracts.errors import NoQuorum, NotFriends, Unavailable
from contracts.events.event import Event
from contracts.subjects import DATA_KEYS, MESSAGING, QUORUM, conversation, quorum_of, stream_of_bucket
from contracts.values.ids import new_id
from infra.runtime.connections import connect_nats
from infra.settings import Settings
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import KeyValue
from streams.log import Log
from streams.quorum import AGE_SECONDS, Quorum
from streams.reader import Reader
from streams.topology import ensure_bucket, ensure_quorum
from tests.fix_cluster import SIZE, Cluster
from tests.integration.streams.conftest import append_to, counting, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Longer than nodes need to elect a leader on a busy machine.
PATIENCE = 60.0
WITHIN = 120.0
DATA_KEYS_STREAM = stream_of_bucket(DATA_KEYS)


class Side:
    """One process's connection to chosen nodes."""

    def __init__(self, quorum: Quorum, log: Log) -> None:
        self.quorum = quorum
        self.log = log


@asynccontextmanager
async def side(cluster: Cluster, *names: str) -> AsyncIterator[Side]:
    client = await cluster.connect(*names)
    quorum = Quorum(client, quorum_of("messaging", new_id()))
    running = asyncio.create_task(quorum.run())
    try:
        await held(quorum)
        yield Side(quorum, Log(client, patience=PATIENCE, quorum=quorum))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()


async def held(quorum: Quorum) -> None:
    async with asyncio.timeout(WITHIN):
        while not quorum.holds:
            await asyncio.sleep(0.05)


async def held_again(quorum: Quorum) -> None:
    """Waits for the next time that evidence is lost and counts again."""
    lost = asyncio.Event()
    quorum.when_lost(lost.set)
    async with asyncio.timeout(WITHIN):
        await lost.wait()
    await held(quorum)


@asynccontextmanager
async def cut_off(cluster: Cluster, name: str) -> AsyncIterator[None]:
    """Parts the node from the others; at the end all of them are whole again."""
    cluster.cut(name)
    try:
        yield
    finally:
        cluster.heal(name)
        await cluster.whole(MESSAGING)
        await cluster.whole(QUORUM)


async def test_what_a_deposed_leader_says_counts_only_until_its_evidence_has_aged(linked_cluster: Cluster) -> None:
    leader = await linked_cluster.stubborn_leader(MESSAGING)
    others = await linked_cluster.followers(MESSAGING)
    name, reads = new_id(), list[tuple[float, float, int]]()
    async with side(linked_cluster, leader) as old, side(linked_cluster, *others) as new:
        first = await new.log.append(append_to(name))

        async def replace() -> tuple[int, float]:
            second = await Log(new.log._nc, patience=WITHIN).append(append_to(name, expected=first, version=2))
            return second, time.monotonic()

        async with cut_off(linked_cluster, leader):
            cut_at = time.monotonic()
            replacing, refused = asyncio.create_task(replace()), list[NoQuorum]()
            async with asyncio.timeout(WITHIN):
                while not replacing.done() or not refused:
                    began = time.monotonic()
                    try:
                        sequence = await old.log.last_sequence(conversation(name))
                        reads.append((began, time.monotonic(), sequence))
                    except NoQuorum as error:
                        refused.append(error)
                    except Unavailable:
                        pass  # the node itself has noticed
                    await asyncio.sleep(0.01)
            assert all(error.retry_after for error in refused)
            second, acknowledged_at = await replacing
            assert {sequence for _, _, sequence in reads} <= {first}
            assert all(ended <= cut_at + AGE_SECONDS for _, ended, _ in reads)
            assert all(began < acknowledged_at for began, _, _ in reads)
        async with asyncio.timeout(WITHIN):
            while True:
                try:
                    assert await old.log.last_sequence(conversation(name)) == second
                    break
                except NoQuorum:
                    await asyncio.sleep(0.05)


async def test_after_healing_evidence_has_to_last_and_memory_is_dropped_before_it_counts(
    linked_cluster: Cluster,
) -> None:
    leader = await linked_cluster.leader(MESSAGING)
    async with side(linked_cluster, leader) as old:
        lost: list[bool] = []
        old.quorum.when_lost(lambda: lost.append(old.quorum.holds))
        async with cut_off(linked_cluster, leader), asyncio.timeout(WITHIN):
            while old.quorum.seen_within(AGE_SECONDS):
                await asyncio.sleep(0.05)
            assert not old.quorum.holds
        await held(old.quorum)
        assert lost
        assert not any(lost)


async def test_a_reader_outlasts_a_node_without_a_quorum_longer_than_it_waits_for_a_stream(
    linked_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    node = (await linked_cluster.followers(MESSAGING))[0]
    client = await linked_cluster.connect(node)
    try:
        async with (
            cut_off(linked_cluster, node),
            Reader(client, MESSAGING, name="outlasting", patience=0.1, outlasts_refusals=True) as reader,
        ):
            reader._jetstream = JetStream(client, patience=0.1)
            async with asyncio.timeout(WITHIN):
                reading = asyncio.create_task(reader.next(1))
                while "cannot be read until the server serves it" not in caplog.text and not reading.done():
                    await asyncio.sleep(0.05)
                # Ten times what it waits for a stream that is missing.
                await asyncio.wait({reading}, timeout=1.0)
                assert not reading.done()
                linked_cluster.heal(node)
                await reading
    finally:
        await client.close()


async def test_a_connection_leaves_a_node_that_is_cut_off_and_what_was_under_way_takes_effect_once(
    linked_cluster: Cluster,
) -> None:
    async with side(linked_cluster, *linked_cluster.nodes) as process:
        client = process.log._nc
        node = linked_cluster.node_of(client)
        await linked_cluster.lead(MESSAGING, node)
        names = [new_id() for _ in range(20)]
        async with cut_off(linked_cluster, node):
            under_way = [asyncio.create_task(process.log.append(append_to(name))) for name in names]
            await held_again(process.quorum)
            assert linked_cluster.node_of(client) != node
            sequences = await asyncio.gather(*under_way)
            assert len(set(sequences)) == len(names)
            for name, sequence in zip(names, sequences, strict=True):
                assert [event.sequence for event in await process.log.read(conversation(name))] == [sequence]


async def test_a_frozen_node_is_left_before_its_clients_give_up(linked_cluster: Cluster) -> None:
    """The client connects as the services do, to the worst node: the one that leads the stream."""
    settings = Settings(nats_url=",".join(node.url for node in linked_cluster.nodes.values()))
    client = await connect_nats(settings, "messaging")
    node = linked_cluster.node_of(client)
    try:
        await linked_cluster.lead(MESSAGING, node)
        await linked_cluster.whole(MESSAGING)
        name = new_id()
        # Seconds until a third ping in a row is without an answer.
        assert client.options["ping_interval"] * (client.options["max_outstanding_pings"] + 1) <= 6
        linked_cluster.freeze(node)
        try:
            sequence = await Log(client, patience=WITHIN).append(append_to(name))
            assert linked_cluster.node_of(client) != node
        finally:
            linked_cluster.thaw(node)
        await linked_cluster.whole(MESSAGING)
        # For a moment the node that was thawed still takes itself for the leader, and answers reads.
        async with asyncio.timeout(WITHIN):
            while not (events := await Log(client, patience=WITHIN).read(conversation(name))):
                await asyncio.sleep(0.05)
        assert [event.sequence for event in events] == [sequence]
    finally:
        await client.close()


async def test_what_a_frozen_replica_was_asked_another_one_answers(linked_cluster: Cluster) -> None:
    """The servers go on choosing the frozen node for a third of what any replica may answer."""
    await ensure_bucket(linked_cluster.client, DATA_KEYS, replicas=SIZE)
    leader = await linked_cluster.leader(DATA_KEYS_STREAM)
    client = await linked_cluster.connect(*await linked_cluster.followers(DATA_KEYS_STREAM))
    values = KeyValue(client, DATA_KEYS, patience=WITHIN)
    try:
        await values.put("a", b"1")
        await linked_cluster.whole(DATA_KEYS_STREAM)
        linked_cluster.freeze(leader)
        try:
            async with asyncio.timeout(WITHIN):
                for _ in range(12):
                    assert await values.get_many(["a"]) == {"a": b"1"}
        finally:
            linked_cluster.thaw(leader)
        await linked_cluster.whole(DATA_KEYS_STREAM)
    finally:
        await client.close()


async def test_a_replicated_stream_that_seems_shorter_for_a_moment_is_read_on(linked_cluster: Cluster) -> None:
    """As reported by the leader that was deposed, to a reader that has just come from the side of the next one."""
    async with side(linked_cluster) as any_side:
        end = await any_side.log.end_of(MESSAGING)
        async with Reader(linked_cluster.client, MESSAGING, after=end + 1, name="ahead") as reader:
            reading = asyncio.create_task(reader.next(1))
            await asyncio.wait({reading}, timeout=0.5)
            await any_side.log.append(append_to(new_id()))
            await any_side.log.append(append_to(new_id()))
            async with asyncio.timeout(WITHIN):
                batch = await reading
                while not batch.messages:
                    batch = await reader.next(1)
            assert [message.sequence for message in batch.messages] == [end + 2]


async def test_what_is_in_memory_does_not_stand_in_for_a_confirmation_that_fails(linked_cluster: Cluster) -> None:
    leader = await linked_cluster.leader(MESSAGING)

    def refuse(state: int) -> Sequence[Event]:
        raise NotFriends

    def nothing(state: int) -> Sequence[Event]:
        return []

    async with side(linked_cluster, leader) as old:
        repository, name = counting(old.log), new_id()
        await repository.execute(name, lambda state: [sent(state + 1)], Provenance())
        async with cut_off(linked_cluster, leader), asyncio.timeout(WITHIN):
            while old.quorum.holds:
                await asyncio.sleep(0.05)
            with pytest.raises(NoQuorum):
                await repository.load(name)
            for decide in (refuse, nothing):
                with pytest.raises(NoQuorum):
                    await repository.execute(name, decide, Provenance())
        known = repository.cached(name)
        assert known is not None
        assert known.state == 1


async def test_a_leader_that_lags_behind_what_is_in_memory_does_not_set_it_back(linked_cluster: Cluster) -> None:
    """As the one of the side that was cut off, asked by a process that has just come over from the other."""
    async with side(linked_cluster) as any_side:
        repository, name = counting(any_side.log), new_id()
        await repository.execute(name, lambda state: [sent(state + 1)], Provenance())
        ahead = repository.cached(name)
        assert ahead is not None
        repository._cache.put(name, type(ahead)(2, ahead.sequence + 1, 2))
        with pytest.raises(Unavailable):
            await repository.load(name)
        assert repository.cached(name) == type(ahead)(2, ahead.sequence + 1, 2)


async def test_the_stream_of_evidence_comes_back_when_all_nodes_were_killed(linked_cluster: Cluster) -> None:
    """It is in memory alone."""
    async with side(linked_cluster) as any_side:
        back = asyncio.Event()
        any_side.quorum.when_lost(back.set)
        await linked_cluster.kill(*linked_cluster.nodes)
        await linked_cluster.restart(*linked_cluster.nodes)
        async with asyncio.timeout(WITHIN):
            await back.wait()
        await held(any_side.quorum)


async def test_making_the_stream_of_evidence_again_changes_nothing(linked_cluster: Cluster) -> None:
    await ensure_quorum(linked_cluster.client, replicas=SIZE)
