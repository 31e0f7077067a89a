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
from contracts.subjects import MESSAGING, QUORUM, conversation, quorum_of
from contracts.values.ids import new_id
from streams.log import Log
from streams.quorum import AGE_SECONDS, Quorum
from streams.topology import ensure_quorum
from tests.fix_cluster import SIZE, Cluster
from tests.integration.streams.conftest import append_to, counting, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Longer than nodes need to elect a leader on a busy machine.
PATIENCE = 60.0
WITHIN = 120.0


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
            second = await Log(new.log._inbox._nc, patience=WITHIN).append(append_to(name, expected=first, version=2))
            return second, time.monotonic()

        async with cut_off(linked_cluster, leader):
            cut_at = time.monotonic()
            replacing, refused = asyncio.create_task(replace()), list[NoQuorum]()
            async with asyncio.timeout(WITHIN):
                while not replacing.done() or not refused:
                    began = time.monotonic()
                    try:
                        found = await old.log.last_sequence(conversation(name))
                        reads.append((began, time.monotonic(), found))
                    except NoQuorum as error:
                        refused.append(error)
                    except Unavailable:
                        pass  # the node itself has noticed
                    await asyncio.sleep(0.01)
            assert all(error.retry_after for error in refused)
            second, acknowledged_at = await replacing
            assert {found for _, _, found in reads} <= {first}
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
