"""Connecting: what does not let us in is given up in time."""

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
    with pytest.raises(Unavailable):
        await connect_nats(Settings(nats_url=url.replace("right", "wrong")), "test", patience=0.5)
    await server.stop()
