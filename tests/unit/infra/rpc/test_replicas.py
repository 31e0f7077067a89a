import asyncio
import logging

import pytest

from infra.rpc import replicas as module
from infra.rpc.replicas import Address, Replicas, look_up
from infra.settings import Settings
from tests.conditions import until


class Names:
    """A resolver whose answers are set by the test."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: list[str] | None = [*addresses]
        self.lookups = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.lookups += 1
        if self.addresses is None:
            raise OSError("no resolver")
        return self.addresses


def name(names: Names, *listed: Address) -> Replicas:
    return Replicas(listed, [("auth", 7001)], look_up=names)


async def test_every_address_of_a_name_is_a_replica_beside_those_that_are_listed() -> None:
    replicas = name(Names("10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.1"), ("10.0.0.9", 1), ("10.0.0.9", 1))
    assert replicas.present == (("10.0.0.9", 1),)
    await replicas.refresh()
    assert set(replicas.present) == {("10.0.0.9", 1), ("10.0.0.1", 7001), ("10.0.0.2", 7001), ("fd00::1", 7001)}
    assert len(replicas.present) == 4


async def test_a_lookup_that_fails_or_finds_nothing_keeps_the_replicas_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = Names("10.0.0.1")
    replicas = name(names)
    await replicas.refresh()
    with caplog.at_level(logging.WARNING):
        for names.addresses in (None, [], None):
            await replicas.refresh()
            assert replicas.present == (("10.0.0.1", 7001),)
    assert len(caplog.records) == 1
    names.addresses = ["10.0.0.2"]
    await replicas.refresh()
    assert replicas.present == (("10.0.0.2", 7001),)


async def test_a_change_is_reported_and_the_same_answer_in_another_order_is_none() -> None:
    names, changes = Names("10.0.0.1", "10.0.0.2"), list[int]()
    replicas = name(names)
    replicas.start(lambda: changes.append(len(replicas.present)))
    try:
        await until(lambda: changes == [2])
        names.addresses = ["10.0.0.2", "10.0.0.1"]
        await replicas.refresh()
        assert changes == [2]
    finally:
        replicas.close()


async def test_a_name_is_looked_up_again_at_once_only_when_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 1_000.0)
    names = Names("10.0.0.1")
    replicas = name(names)
    replicas.start()
    try:
        await until(lambda: names.lookups == 1)
        replicas.look_up_again()
        await until(lambda: names.lookups == 2)
    finally:
        replicas.close()


async def test_a_name_is_looked_up_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._INTERVAL <= 3, "new replicas get calls within five seconds"
    monkeypatch.setattr(module, "_INTERVAL", 0.02)
    monkeypatch.setattr(module, "_SHORTEST_INTERVAL", 0.01)
    names = Names("10.0.0.1")
    replicas = name(names)
    replicas.start()
    try:
        await until(lambda: names.lookups >= 3)
    finally:
        replicas.close()


async def test_listed_replicas_need_no_lookup() -> None:
    replicas = Replicas.of(Settings(addresses={"auth": "127.0.0.1:1,127.0.0.2:2"}), "auth")
    replicas.start()
    replicas.look_up_again()
    assert replicas.present == (("127.0.0.1", 1), ("127.0.0.2", 2))
    assert len(asyncio.all_tasks()) == 1
    replicas.close()


async def test_the_system_is_asked_for_the_addresses_of_a_name() -> None:
    assert "127.0.0.1" in await look_up("localhost", 80)
    with pytest.raises((OSError, UnicodeError)):
        await look_up("there..is-no-such-name", 80)
