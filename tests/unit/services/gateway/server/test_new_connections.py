"""New connections are kept away from a listening socket; those that exist are not lost."""

import socket
import sys

import pytest

from services.gateway.server.new_connections import drop_new_connections


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")
def test_those_before_are_accepted_and_those_after_are_not_established() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as before:
            before.sendall(b"one")
            drop_new_connections(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.2)
            before.sendall(b" two")
            accepted, _ = listening.accept()
            with accepted:
                before.shutdown(socket.SHUT_WR)
                assert accepted.makefile().read() == "one two"
                listening.setblocking(False)
                with pytest.raises(BlockingIOError):
                    listening.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)
