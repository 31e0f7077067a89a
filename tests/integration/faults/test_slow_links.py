"""Links that are slow, late, lossy or out of order are so in fact, and no longer than their block."""

from pathlib import Path

from tests.faults.nemesis.slow_links import Quality, forwarded, slowed
from tests.integration.faults.two_hosts import OTHER, TwoHosts, on_two_hosts

_COUNT = 100


def test_a_slow_link_carries_only_so_much_a_second(tmp_path: Path) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        async with slowed(two.links, OTHER, 256):
            # 32 kB a second, and a third of this at once; what waits for more than 0.4 s is lost.
            probe = await two.probe(_COUNT, size=1000, wait=5.0)
            assert 0 < len(probe.echoes) < _COUNT / 2
            assert max(probe.seconds) > 0.3
        await two.connected()

    on_two_hosts(act, tmp_path)


def test_packets_are_delayed_in_both_directions(tmp_path: Path) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        async with forwarded(two.links, OTHER, Quality(delay=0.1), 1):
            await two.connected()
            probe = await two.probe(10, wait=30.0)
            assert probe.order == list(range(10))
            assert min(probe.seconds) >= 0.2
        await two.connected()

    on_two_hosts(act, tmp_path)


def test_packets_are_lost(tmp_path: Path) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        async with forwarded(two.links, OTHER, Quality(loss=0.5), 1):
            await two.connected()
            probe = await two.probe(_COUNT, pause=0.001, wait=5.0)
            assert 0 < len(probe.echoes) < _COUNT / 2
        await two.connected()

    on_two_hosts(act, tmp_path)


def test_packets_overtake_each_other(tmp_path: Path) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        async with forwarded(two.links, OTHER, Quality(delay=0.1, reorder=0.3), 1):
            await two.connected()
            probe = await two.probe(_COUNT, wait=30.0)
            assert probe.order != sorted(probe.order)
            assert len(probe.echoes) == _COUNT
        await two.connected()

    on_two_hosts(act, tmp_path)
