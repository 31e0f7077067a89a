"""Connecting: what does not let us in, or does not answer, is given up in time, and said to be what it is."""

import socket
from pathlib import Path

import pytest

from contracts.errors import Unavailable
from infra.connections import connect_nats
from infra.embedded.nats import NatsServer
from infra.secrets import NATS_PARTIES
from infra.settings import Settings


async def test_a_login_that_nats_refuses_is_given_up_in_time(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", passwords=dict.fromkeys(NATS_PARTIES, "right"))
    await server.start()
    url = server.url_of("auth")
    with pytest.raises(Unavailable, match="does not let us in"):
        await connect_nats(Settings(nats_url=url.replace("right", "wrong")), "test", patience=3.0)
    await server.stop()


async def test_a_server_that_takes_the_connection_and_says_nothing_is_not_said_to_refuse_us() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(nats_url=f"nats://auth:right@127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable, match="does not answer"):
            await connect_nats(settings, "test", patience=0.5)
