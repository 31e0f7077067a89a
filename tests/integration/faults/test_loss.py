"""Every way to lose packets loses them, in its direction alone, and no longer than its block."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.nemesis.loss import blackholed, silenced, unheard, unplugged
from tests.integration.faults.two_hosts import ONE, OTHER, TwoHosts, on_two_hosts


async def silence(two: TwoHosts) -> bool:
    """Whether a datagram can be sent, and nothing comes back."""
    echoes = await two.probe()
    return (echoes.echoes, echoes.errors) == ([], 0)


async def received(two: TwoHosts, host: str) -> int:
    """Datagrams that reached the host's programs."""
    _, output = await two.hosts[host].run("cat", "/proc/net/snmp")
    names, values = (line.split() for line in output.splitlines() if line.startswith("Udp:"))
    counts = dict(zip(names, values, strict=True))
    return int(counts["InDatagrams"])


def test_an_unplugged_host_is_reached_by_nothing(tmp_path: Path) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        async with unplugged(two.links, OTHER):
            assert await silence(two)
        await two.connected()

    on_two_hosts(act, tmp_path)


@pytest.mark.parametrize("outward", [True, False])
def test_a_host_is_silenced_in_one_direction(tmp_path: Path, outward: bool) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        before = await received(two, OTHER)
        async with silenced(two.links, OTHER, outward=outward):
            assert await silence(two)
            # What is sent arrives, and only the echo is lost; or nothing arrives.
            assert await received(two, OTHER) - before == (1 if outward else 0)
        await two.connected()

    on_two_hosts(act, tmp_path)


def test_what_one_host_sends_the_other_does_not_hear(tmp_path: Path) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        before = await received(two, OTHER)
        async with unheard(two.links, [OTHER], [ONE]):
            assert await silence(two)
            assert await received(two, OTHER) - before == 1
        await two.connected()
        before = await received(two, OTHER)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(unheard(two.links, [ONE], [OTHER]))
            await stack.enter_async_context(unheard(two.links, [OTHER], [ONE]))
            assert await silence(two)
            assert await received(two, OTHER) == before
        await two.connected()

    on_two_hosts(act, tmp_path)


def test_a_blackhole_route_refuses_what_is_sent_into_it(tmp_path: Path) -> None:
    async def act(two: TwoHosts) -> None:
        await two.connected()
        async with blackholed(two.links, [OTHER], [ONE]):
            assert await silence(two)
        async with blackholed(two.links, [ONE], [OTHER]):
            assert (await two.probe()).errors == 1
        await two.connected()

    on_two_hosts(act, tmp_path)
