"""Ports that are held for a process while it is away."""

import socket

import pytest

from infra.embedded.ports import is_free, reserve_ports
from infra.listening import open_listener


def test_a_held_port_is_nobody_elses_and_its_owners_again_and_again() -> None:
    (holder,) = reserve_ports(1)
    with holder:
        host, port = holder.getsockname()
        assert not is_free(port)
        with pytest.raises(OSError, match="in use"):
            open_listener(host, port, shared=False)
        for _ in range(3):
            with open_listener(host, port, shared=True) as owner:
                socket.create_connection((host, port), timeout=5).close()
                owner.accept()[0].close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port), timeout=5)


def test_held_ports_are_different() -> None:
    holders = reserve_ports(20)
    assert len({holder.getsockname()[1] for holder in holders}) == 20
    for holder in holders:
        holder.close()
