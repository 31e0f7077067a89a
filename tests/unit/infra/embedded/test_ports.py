"""Ports that are reserved for a process while it does not run."""

import socket

import pytest

from contracts.services import BESIDE
from infra.embedded import ports
from infra.embedded.ports import free_port, free_ports, is_free, reserve_ports
from infra.runtime.sockets import open_listener


def test_a_held_port_goes_to_its_owner_only_and_every_time() -> None:
    (holder,) = reserve_ports(1)
    with holder:
        host, port = holder.getsockname()
        assert not is_free(port)
        with pytest.raises(OSError, match="in use"):
            open_listener(host, port, shared=False)
        for _ in range(3):
            with open_listener(host, port, shared=True) as owner:
                socket.create_connection((host, port), timeout=60).close()
                owner.accept()[0].close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port), timeout=60)


def test_held_ports_are_different() -> None:
    holders = reserve_ports(20)
    assert len({holder.getsockname()[1] for holder in holders}) == 20
    for holder in holders:
        holder.close()


def test_no_port_is_given_out_twice_while_there_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_GIVEN", {})
    monkeypatch.setattr(ports, "HIGHEST", ports.LOWEST + 300)
    allotted = [*free_ports(20), *(free_port() for _ in range(100))]
    assert len(set(allotted)) == len(allotted)
    # Once all are used, the earliest are given out again, and the latest are not.
    for _ in range(300):
        allotted.append(free_port())
        assert len(set(allotted[-100:])) == 100


def test_no_port_is_given_out_on_which_the_process_of_another_one_offers_its_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "_GIVEN", {})
    monkeypatch.setattr(ports, "LOWEST", 20_000)
    monkeypatch.setattr(ports, "HIGHEST", 20_000 + 2 * BESIDE)
    allotted = set(free_ports(600))
    assert allotted.isdisjoint({port + BESIDE for port in allotted})
