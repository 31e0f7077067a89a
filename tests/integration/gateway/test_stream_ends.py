"""A position that was acknowledged is never called another system's, also by a gateway whose NATS node is cut off."""

import asyncio

import pytest

from contracts.errors import Unavailable
from contracts.positions import Position
from contracts.subjects import MESSAGING, quorum_of
from contracts.values.ids import new_id
from services.gateway.consistency.stream_heads import StreamHeads
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.quorum import Quorum
from tests.fix_cluster import Cluster
from tests.integration.streams.conftest import append_to

pytestmark = pytest.mark.asyncio(loop_scope="module")
WITHIN = 120.0


async def test_a_write_that_others_acknowledged_is_not_refused_by_who_asks_a_deposed_leader(
    linked_cluster: Cluster,
) -> None:
    leader = await linked_cluster.stubborn_leader(MESSAGING)
    others = await linked_cluster.followers(MESSAGING)
    old, new = await linked_cluster.connect(leader), await linked_cluster.connect(*others)
    quorum = Quorum(old, quorum_of("gateway", new_id()))
    gathering = asyncio.create_task(quorum.run())
    ends = StreamHeads(JetStream(old, patience=2.0).last_sequence, confirm=quorum.require)
    told: list[bool] = []
    try:
        async with asyncio.timeout(WITHIN):
            while not quorum.holds:
                await asyncio.sleep(0.05)
        linked_cluster.cut(leader)
        written = Position.at(MESSAGING, await Log(new, patience=WITHIN).append(append_to(new_id())))
        for _ in range(20):
            try:
                told.append(await ends.include(written, Position()))
            except Unavailable:
                await asyncio.sleep(0.1)
        linked_cluster.heal(leader)
        await linked_cluster.whole(MESSAGING)
        async with asyncio.timeout(WITHIN):
            while not told:
                try:
                    told.append(await ends.include(written, Position()))
                except Unavailable:
                    await asyncio.sleep(0.1)
        assert all(told)
        async with asyncio.timeout(WITHIN):
            while not quorum.holds:
                await asyncio.sleep(0.05)
        assert not await ends.include(Position.at(MESSAGING, 1 << 40), Position())
    finally:
        linked_cluster.heal(leader)
        gathering.cancel()
        await asyncio.gather(gathering, return_exceptions=True)
        await old.close()
        await new.close()
